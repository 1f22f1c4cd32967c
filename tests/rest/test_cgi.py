"""The HTTP API by hand: who may, who may not, and what comes back for requests that are wrong."""

from __future__ import annotations

import json
import signal
import time

import pytest
from jsonschema import Draft202012Validator

from dpi_dual.rest.request import MAX_BODY
from dpi_dual.rest.throttle import TRIES
from dpi_dual.rpc.signatures import schema

from .conftest import Api, basic

SCHEMA = schema()
PATHS = {
    "/status": ("dpi.status", "status"),
    "/mitm/buffer": ("dpi.status", "buffer"),
    "/tap/flows": ("dpi.status", "flows"),
    "/correlated": ("dpi.correlator", "timeline"),
}


# --- what is asked


@pytest.mark.parametrize("path", PATHS)
def test_answers_are_those_of_ubus(api: Api, path: str) -> None:
    obj, name = PATHS[path]
    answer = api.get(path)
    assert answer.status == 200, answer
    returns = SCHEMA["objects"][obj][name]["returns"]
    Draft202012Validator({**returns, "$defs": SCHEMA["$defs"]}).validate(answer.json())
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_program_answers_below_cgi_bin_too(api: Api) -> None:
    answer = api.ask("GET", "/cgi-bin/dpi-dual/status", Authorization=basic("root", "of-root"))
    assert answer.status == 200
    api.forget_logins()


def test_pages_by_query(api: Api) -> None:
    for number in range(5):
        done = api.engine.call("dpi.correlator", "correlate", ip=f"198.51.100.{number}", event_type="scanner")
        assert done["ok"], done
    first = api.get("/correlated?limit=2&type=scanner").json()
    assert len(first["threats"]) == 2
    second = api.get(f"/correlated?limit=2&type=scanner&before={first['next']}").json()
    assert {row["id"] for row in first["threats"]}.isdisjoint(row["id"] for row in second["threats"])
    with_context = api.get("/correlated?limit=1&context=true&since=1.5").json()
    assert "context" in with_context["threats"][0]


def test_a_head_is_a_get_without_its_body(api: Api) -> None:
    answer = api.ask("HEAD", "/api/dpi/status", Authorization=f"Bearer {api.login('root')}")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["content-length"]) > 100


def test_a_replay_needs_the_analyser(api: Api) -> None:
    answer = api.replay()
    assert (answer.status, answer.json()["code"]) == (503, "mitm_down")
    assert int(answer.headers["retry-after"]) > 0
    assert api.replay(None).status == 503, "a body is not needed"


# --- what is asked wrongly


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/tap/flows?limit=0", "bad_parameter"),
        ("/tap/flows?limit=five", "bad_parameter"),
        ("/tap/flows?limit=5.0", "bad_parameter"),
        ("/tap/flows?limit=", "bad_parameter"),
        ("/tap/flows?limit=9999999999999999999999", "bad_parameter"),
        ("/tap/flows?limit=5&limit=6", "bad_parameter"),
        ("/tap/flows?state=dead", "bad_parameter"),
        ("/tap/flows?nonsense=1", "bad_parameter"),
        ("/tap/flows?before=%27%3B+DROP+TABLE", "bad_page"),
        ("/tap/flows?ip=300.1.1.1", "bad_address"),
        ("/tap/flows?protocol=%ff%fe", "bad_parameter"),
        ("/tap/flows?protocol=a%00b", "bad_parameter"),
        ("/tap/flows?protocol=a%0d%0aSet-Cookie:x", "bad_parameter"),
        ("/tap/flows?ubus_rpc_session=1", "bad_parameter"),
        ("/status?x", "bad_parameter"),
        ("/status?" + "a=1&" * 2000, "bad_parameter"),
        ("/correlated?context=yes", "bad_parameter"),
    ],
)
def test_wrong_queries_are_refused_by_name(api: Api, path: str, code: str) -> None:
    answer = api.get(path)
    assert (answer.status, answer.json()["code"]) == (400, code), answer
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("path", ["", "/", "/nothing", "/status/", "/replay/", "/replay/1/2", "/..", "//status"])
def test_paths_that_are_not_there(api: Api, path: str) -> None:
    answer = api.get(path)
    assert (answer.status, answer.json()["code"]) == (404, "no_such_path"), answer


@pytest.mark.parametrize(
    ("verb", "path", "allow"),
    [
        ("POST", "/status", "GET, HEAD, OPTIONS"),
        ("DELETE", "/tap/flows", "GET, HEAD, OPTIONS"),
        ("GET", "/replay/192.0.2.1", "POST, OPTIONS"),
        ("PUT", "/replay/192.0.2.1", "POST, OPTIONS"),
        ("PATCH", "/openapi.json", "GET, HEAD, OPTIONS"),
    ],
)
def test_verbs_that_a_path_does_not_take(api: Api, verb: str, path: str, allow: str) -> None:
    answer = api.ask(verb, f"/api/dpi{path}", Authorization=f"Bearer {api.login('root')}")
    assert (answer.status, answer.headers["allow"]) == (405, allow)
    options = api.ask("OPTIONS", f"/api/dpi{path}", Origin="http://elsewhere.example")
    assert (options.status, options.headers["allow"]) == (204, allow)
    assert not [name for name in options.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"{", "application/json", 400, "bad_json"),
        (b"[]", "application/json", 400, "bad_json"),
        (b"[" * 60_000, "application/json", 400, "bad_json"),
        (b'{"ip": "198.51.100.1"}', "application/json", 400, "bad_parameter"),
        (b'{"id": "1"}', "application/json", 400, "bad_parameter"),
        (b'{"limit": "5"}', "application/json", 400, "bad_parameter"),
        (b'{"rules": 5}', "application/json", 400, "bad_parameter"),
        (b'{"limit": 5}', "text/plain", 415, "not_json"),
        (b"limit=5", "application/x-www-form-urlencoded", 415, "not_json"),
        (b" " * (MAX_BODY + 1), "application/json", 413, "too_long"),
    ],
)
def test_wrong_bodies(api: Api, body: bytes, kind: str, status: int, code: str) -> None:
    answer = api.replay(body, Content_Type=kind)
    assert (answer.status, answer.json()["code"]) == (status, code), answer


@pytest.mark.parametrize("place", ["nobody", "300.1.1.1", "192.0.2.0%2f24", "%27", "..", "%0d%0aX:%20y"])
def test_wrong_addresses_in_a_path(api: Api, place: str) -> None:
    answer = api.replay(path=f"/replay/{place}")
    assert answer.status in (400, 404), answer
    assert answer.json()["code"] in ("bad_address", "no_such_path")


# --- who asks

WRONG = {
    "missing": {},
    "empty": {"Authorization": ""},
    "scheme alone": {"Authorization": "Bearer"},
    "another scheme": {"Authorization": "Digest username=root"},
    "too short": {"Authorization": "Bearer abc"},
    "too long": {"Authorization": "Bearer " + "a" * 33},
    "capitals": {"Authorization": "Bearer " + "A" * 32},
    "not hexadecimal": {"Authorization": "Bearer " + "g" * 32},
    "nobody's session": {"Authorization": "Bearer " + "0" * 32},
    "unknown": {"Authorization": "Bearer " + "a" * 32},
    "injection": {"Authorization": 'Bearer {"ubus_rpc_session":"x"}'},
    "a token as a cookie": {"Cookie": "sysauth=" + "a" * 32},
    "no base64": {"Authorization": "Basic %%%"},
    "no colon": {"Authorization": "Basic cm9vdA=="},
    "no name": {"Authorization": basic("", "of-root")},
    "control characters": {"Authorization": basic("root\r\nX-Evil: 1", "x")},
    "a NUL": {"Authorization": basic("root", "of-root\0")},
    "not UTF-8": {"Authorization": "Basic /////w=="},
    "wrong password": {"Authorization": basic("root", "of-viewer")},
    "wrong name": {"Authorization": basic("toor", "of-root")},
    "endless": {"Authorization": "Basic " + "QUFB" * 2000},
}


@pytest.mark.parametrize("headers", WRONG.values(), ids=WRONG)
def test_wrong_logins(api: Api, headers: dict[str, str]) -> None:
    api.forget_logins()
    before = api.sessions()
    answer = api.ask("GET", "/api/dpi/status", **headers)
    assert answer.status == 401, answer
    assert 'Basic realm="dpi-dual"' in answer.headers["www-authenticate"]
    assert "Bearer" in answer.headers["www-authenticate"]
    assert "x-evil" not in answer.headers
    assert set(answer.json()) == {"error", "code"}
    assert api.sessions() == before


def test_a_session_that_was_ended_or_has_run_out_is_no_login(api: Api) -> None:
    from lab.gateway.client import Client

    ended, short = api.login("root"), api.login("root", timeout=1)
    assert api.get("/status", Authorization=f"Bearer {ended}").status == 200
    with Client(str(api.socket)) as client:
        client.answers("session", "destroy", {"ubus_rpc_session": ended})
    time.sleep(2)  # a session that is not used for its timeout is over, however slow we are
    for token in (ended, short):
        answer = api.get("/status", Authorization=f"Bearer {token}")
        assert (answer.status, answer.json()["code"]) == (401, "session_over")
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_a_login_that_may_only_read_may_only_read(api: Api) -> None:
    for who in (f"Bearer {api.login('viewer')}", basic("viewer", "of-viewer")):
        for path in PATHS:
            assert api.get(path, Authorization=who).status == 200
        answer = api.replay(Authorization=who)
        assert (answer.status, answer.json()["code"]) == (403, "forbidden")
    api.forget_logins()


def test_a_session_without_rights_is_refused_everything(api: Api) -> None:
    from lab.gateway.client import Client

    with Client(str(api.socket)) as client:
        sid = client.call("session", "create", {"timeout": 300})["ubus_rpc_session"]
    for path in PATHS:
        answer = api.get(path, Authorization=f"Bearer {sid}")
        assert (answer.status, answer.json()["code"]) == (403, "forbidden")


def test_rights_follow_the_method_not_the_object(api: Api) -> None:
    from lab.gateway.client import Client

    with Client(str(api.socket)) as client:
        sid = client.call("session", "create", {"timeout": 300})["ubus_rpc_session"]
        right = {"ubus_rpc_session": sid, "scope": "ubus", "objects": [["dpi.status", "buffer"]]}
        client.answers("session", "grant", right)
    assert api.get("/mitm/buffer", Authorization=f"Bearer {sid}").status == 200
    assert api.get("/status", Authorization=f"Bearer {sid}").status == 403


def test_a_password_leaves_no_session_behind(api: Api) -> None:
    before = api.sessions()
    assert api.get("/status", Authorization=basic("root", "of-root")).status == 200
    assert api.get("/tap/flows?limit=0", Authorization=basic("root", "of-root")).status == 400
    assert api.replay(Authorization=basic("viewer", "of-viewer")).status == 403
    assert api.sessions() == before
    api.forget_logins()


def test_who_guesses_passwords_has_to_wait(api: Api) -> None:
    tried = api.engine.directory / "run" / "rest-logins.json"
    api.forget_logins()
    assert api.get("/status", Authorization=basic("root", "a guess")).status == 401
    assert json.loads(tried.read_text())["127.0.0.1"][0] == 1
    for password in ("another guess", "of-root"):  # even the right one
        # A machine that takes a minute for a request has waited long enough by itself: once more then.
        for _ in range(20):
            tried.write_text(json.dumps({"127.0.0.1": [TRIES, time.time()]}))
            answer = api.get("/status", Authorization=basic("root", password))
            if answer.status == 429:
                break
        assert (answer.status, answer.json()["code"]) == (429, "too_many_logins")
        assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert api.get("/status").status == 200, "sessions are not held up"
    api.forget_logins()
    assert api.get("/status", Authorization=basic("root", "of-root")).status == 200
    assert json.loads(tried.read_text()) == {}


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1:1"])
def test_pages_of_other_sites_get_nothing(api: Api, origin: str) -> None:
    for answer in (api.replay(Origin=origin), api.get("/status", Origin=origin)):
        assert (answer.status, answer.json()["code"]) == (403, "cross_origin")


def test_our_own_pages_get_an_answer(api: Api) -> None:
    assert api.get("/status", Origin=f"http://127.0.0.1:{api.port}").status == 200


def test_metrics_over_http(api: Api) -> None:
    config = api.engine.directory / "config" / "dpi-dual"
    before = config.read_text()
    assert (api.get("/metrics").status, api.get("/metrics").json()["code"]) == (404, "prometheus_off")
    try:
        config.write_text(before + "config export 'export'\n\toption prometheus '1'\n")
        api.engine.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 60
        while (answer := api.get("/metrics")).status != 200:
            assert time.monotonic() < deadline, answer
            time.sleep(0.1)
    finally:
        config.write_text(before)
        api.engine.process.send_signal(signal.SIGHUP)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b"\n# TYPE dpi_dual_flows_started_total counter\n" in answer.body
    assert api.ask("GET", "/api/dpi/metrics").status == 401
