"""What docs/security.md promises and no other test shows: rights of all that is made, secrets, injection."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import shutil
import socket
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dpi_dual import config
from dpi_dual.directory import private_directory, private_socket, replace_file
from dpi_dual.export import eve
from dpi_dual.export.spool import Spool
from dpi_dual.mitm import policy as policies
from dpi_dual.mitm.alerts import checked
from dpi_dual.mitm.folder import open_folder
from dpi_dual.mitm.link import MitmLink
from dpi_dual.mitm.seal import key_from_file, new_key
from dpi_dual.mitm.wire import SOCKET
from dpi_dual.rest import routes
from dpi_dual.rest.cgi import respond
from dpi_dual.rest.errors import HttpError
from dpi_dual.rest.request import read
from dpi_dual.rest.throttle import Throttle
from dpi_dual.rpc.signatures import methods
from lab.engine import RunningEngine, running_engine
from lab.waiting import eventually
from tests.mitm.feeder import Feeder, attack, settings_for

ROOT = Path(__file__).resolve().parents[1]
UMASKS = (0, 0o022, 0o077)


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# --- rights of files and sockets


@pytest.mark.parametrize("mask", UMASKS, ids=oct)
def test_what_the_engine_makes_is_for_root_and_its_group_under_any_umask(tmp_path: Path, mask: int) -> None:
    textfile, events = tmp_path / "prom" / "dpi.prom", tmp_path / "eve" / "eve.json"
    uci = (
        f"config correlation 'correlation'\n\toption output '{tmp_path}/out/deep/threats.json'\n"
        f"config export 'export'\n\toption textfile '{textfile}'\n\toption eve '1'\n\toption eve_path '{events}'\n"
    )
    with umask(mask), running_engine(uci) as engine:
        stats = engine.directory / "stats"
        wanted = [stats / "dpi-flows.json", stats / "lan-clients.json", stats / "ip-reputation.json", textfile]
        eventually("the files are there", lambda: all(path.exists() for path in wanted))
        socket_mode = mode(engine.directory / "run" / "engine.sock")
        engine.process.terminate()
        engine.process.wait(120)
        assert (engine.directory / "state" / "state.db").exists()
        places = [*(engine.directory / name for name in ("run", "stats", "state")), *tmp_path.iterdir()]
        made = [path for place in places for path in (place, *place.rglob("*"))]
        modes = {str(path): oct(mode(path)) for path in made if path != textfile and mode(path) & 0o027}
        assert modes == {}
        assert socket_mode & 0o117 == 0
        assert mode(textfile) == 0o644


@pytest.mark.parametrize("mask", UMASKS, ids=oct)
def test_what_the_analyser_makes_is_for_its_user_alone_under_any_umask(tmp_path: Path, mask: int) -> None:
    place = tmp_path / "a" / "buffer"
    with umask(mask):
        feeder = Feeder(place, policies.of_settings(settings_for(place)), new_key())
        try:
            feeder.send(attack(1))
            eventually(
                "the log and the spool are there",
                lambda: (place / "analysis.jsonl").exists() and (place / "spool.bin").exists(),
            )
            # What is replaced has another name for a moment.
            modes = {path.name: mode(path) for path in place.iterdir() if not path.name.endswith(".new")}
        finally:
            feeder.close()
    assert {SOCKET, "analysis.jsonl", "spool.bin"} <= set(modes)
    assert all(found & 0o177 == 0 for found in modes.values()), modes
    assert mode(place) & 0o027 == 0
    assert mode(place.parent) & 0o022 == 0


@pytest.mark.parametrize("mask", UMASKS, ids=oct)
def test_what_single_writers_make_under_any_umask(tmp_path: Path, mask: int) -> None:
    with umask(mask):
        replace_file(str(tmp_path / "a" / "stats"), "x.json", b"{}")
        Spool(str(tmp_path / "b" / "eve.json"), 1 << 20).append([b"{}\n"])
        Throttle(str(tmp_path / "c" / "logins.json")).tried("192.0.2.1")
        key_from_file(str(tmp_path / "key"))
        private_socket(str(tmp_path / "sock"), 0o660).close()
    assert mode(tmp_path / "a" / "stats" / "x.json") == 0o640
    assert mode(tmp_path / "a" / "stats") & 0o027 == 0
    assert mode(tmp_path / "a") & 0o022 == 0
    assert mode(tmp_path / "b" / "eve.json") & 0o137 == 0
    assert mode(tmp_path / "c" / "logins.json") == mode(tmp_path / "key") == 0o600
    assert mode(tmp_path / "sock") == 0o660


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = key_from_file(str(path))
    assert key_from_file(str(path)) == key
    path.chmod(0o640)
    with pytest.raises(ValueError, match="chmod 600"):
        key_from_file(str(path))
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(OSError, match="symbolic"):
        key_from_file(str(tmp_path / "link"))


# --- somebody was there first


def test_a_link_in_the_place_of_a_directory_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    for use in (private_directory, open_folder):
        with pytest.raises(OSError, match="directory"):
            use(str(tmp_path / "link"))
    with pytest.raises(OSError, match="directory"):
        Spool(str(tmp_path / "link" / "eve.json"), 1 << 20).append([b"x\n"])
    assert list((tmp_path / "victim").iterdir()) == []


def test_the_engine_connects_to_no_link_in_the_analyser_s_place(tmp_path: Path) -> None:
    private_socket(str(tmp_path / "other"), 0o600).close()
    (tmp_path / SOCKET).symlink_to(tmp_path / "other")
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        link = MitmLink(settings_for(tmp_path), db, lambda name, content: None)
        with pytest.raises(ValueError, match="not a socket"):
            asyncio.run(link._connect())


# --- secrets

SECRETS = {name: f"hush-{name}-hush" for name in ("password", "bouncer_key", "mqtt_password", "influx_token")}
READ = [
    (obj, name)
    for obj, known in methods().items()
    for name, method in known.items()
    if method.access == "read" and not method.params.get("required")
]


@pytest.fixture(scope="module")
def secretive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    """An engine with every secret set, none of whose peers is there."""
    events = tmp_path_factory.mktemp("eve") / "eve.json"
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, never listening: whoever connects is refused
        port = nobody.getsockname()[1]
        uci = (
            f"config crowdsec 'crowdsec'\n\toption url 'http://127.0.0.1:{port}'\n\toption machine_id 'm'\n"
            f"config export 'export'\n\toption influx_url 'http://127.0.0.1:{port}/write'\n\toption mqtt '1'\n"
            f"\toption mqtt_host '127.0.0.1'\n\toption mqtt_port '{port}'\n\toption mqtt_tls '0'\n"
            f"\toption mqtt_user 'u'\n\toption eve '1'\n\toption eve_path '{events}'\n\toption prometheus '1'\n"
        )
        with running_engine(uci) as engine:
            file = engine.directory / "config" / "dpi-dual-secrets"
            file.write_text(
                f"config crowdsec 'crowdsec'\n\toption password '{SECRETS['password']}'\n"
                f"\toption bouncer_key '{SECRETS['bouncer_key']}'\n"
                f"config export 'export'\n\toption mqtt_password '{SECRETS['mqtt_password']}'\n"
                f"\toption influx_token '{SECRETS['influx_token']}'\n"
            )
            file.chmod(0o600)
            engine.process.send_signal(1)
            yield engine


def _processes(parent: int) -> list[bytes]:
    """Arguments and environment of a process and its children, as everybody may (the first) and root can see them."""
    found = []
    for path in [Path(f"/proc/{parent}"), *map(Path, _children(parent))]:
        for name in ("cmdline", "environ"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                found.append((path / name).read_bytes())
    return found


def _children(parent: int) -> list[str]:
    try:
        text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    except OSError:
        return []
    return [f"/proc/{number}" for number in text.split()]


def test_secrets_are_in_no_answer_log_file_or_process_list(secretive: RunningEngine) -> None:
    pytest.importorskip("paho.mqtt", reason="paho-mqtt is not installed: no process would be given the password")
    seen: list[bytes] = []

    def is_told() -> bool:
        seen.extend(_processes(secretive.process.pid))
        told = json.dumps(secretive.call("dpi.status", "health"))
        began = any(b"export.mqtt_process" in text for text in seen)
        return began and "mqtt_down" in told and "export_failing" in told

    eventually("health tells it", is_told)
    assert any(b"export.mqtt_process" in text for text in seen), "the process that has the password was not seen"
    for obj, name in READ:
        seen.append(json.dumps(secretive.call(obj, name)).encode())
    files = [
        path for path in secretive.directory.rglob("*") if "config" not in path.relative_to(secretive.directory).parts
    ]
    for path in files:
        with contextlib.suppress(OSError):  # no file, or one that was in the making
            seen.append(path.read_bytes())
    for name, secret in SECRETS.items():
        assert not [text[:200] for text in seen if secret.encode() in text], name


def test_no_method_shows_or_takes_a_secret() -> None:
    words = ("password", "bouncer", "token", "secret")
    for obj, known in methods().items():
        for name, method in known.items():
            assert not [key for key in method.params["properties"] if any(word in key for word in words)], (obj, name)


def test_the_policy_that_leaves_for_the_container_holds_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "dpi-dual-secrets"
    parts = {"crowdsec": ("password", "bouncer_key"), "export": ("mqtt_password", "influx_token")}
    file.write_text(
        "".join(
            f"config {part} '{part}'\n" + "".join(f"\toption {name} '{SECRETS[name]}'\n" for name in names)
            for part, names in parts.items()
        )
    )
    file.chmod(0o600)
    (tmp_path / "dpi-dual").write_bytes((ROOT / "config" / "dpi-dual").read_bytes())
    loaded = config.load(str(tmp_path))
    assert loaded.secrets.crowdsec.bouncer_key == SECRETS["bouncer_key"]
    assert loaded.secrets.export.influx_token == SECRETS["influx_token"]
    assert "hush" not in json.dumps(policies.of_settings(loaded).as_dict())


# --- injection

HOSTILE = (
    "$(touch owned):8088",
    "`touch owned`:8088",
    "127.0.0.1:8088; touch owned",
    "127.0.0.1:8088 && touch owned",
    "a b:8088",
    "*:8088",
    "--set=x:8088",
    "'\"\\:8088",
    ":::8088",
)
STUBS = """
extra_command() { :; }
logger() { :; }
mkdir() { :; }
chmod() { :; }
config_get() { eval "$1=\\$LISTEN"; }
procd_open_instance() { :; }
procd_close_instance() { :; }
procd_set_param() { [ "$1" = command ] && shift && printf '<%s>\\n' "$@"; return 0; }
confine() { :; }
. "$SCRIPT"
start_mitmdump
"""


@pytest.mark.skipif(shutil.which("busybox") is None, reason="needs busybox's ash, a router's shell")
@pytest.mark.parametrize("listen", HOSTILE)
def test_no_value_of_uci_is_a_command_in_the_init_script(tmp_path: Path, listen: str) -> None:
    program = tmp_path / "mitmdump"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/bin:/usr/bin", "LISTEN": listen, "SCRIPT": str(ROOT / "init.d" / "dpi-dual")}
    # The stubs stand for rc.common; the script's own `confine` replaces the one here.
    done = subprocess.run(
        ["busybox", "ash", "-c", STUBS.replace("procd_set_param() {", "procd_add_jail() { :; }\nprocd_set_param() {")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    words = done.stdout.splitlines()
    assert words[0] == f"<{program}>"
    assert len(words) == 12 and words[4] == "<--listen-host>" and words[6] == "<--listen-port>", words
    assert words[7].strip("<>").isdigit()
    assert not (tmp_path / "owned").exists()


UCI = """#!/bin/sh
case "$*" in
"-q get dpi-dual.tap.interface") echo "$NAMES" ;;
"-q get netifyd.@netifyd[0]") echo netifyd ;;
"-q get "* | "-q changes "*) exit 1 ;;
*) printf '%s\\n' "$*" ;;
esac
"""


@pytest.mark.skipif(shutil.which("busybox") is None, reason="needs busybox's ash, a router's shell")
@pytest.mark.parametrize(
    "names", ["-c /etc/evil", "$(touch owned)", "`touch owned`", "; touch owned", "* ?", "' \"", "a" * 16, "a/b"]
)
def test_no_interface_of_uci_is_an_argument_of_netifyd(tmp_path: Path, names: str) -> None:
    for name, text in {"uci": UCI, "logger": "#!/bin/sh\n"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    nowhere = str(tmp_path / "nowhere")
    environment = {"NETIFYD_CONF": nowhere, "NETIFYD_INIT": nowhere, "NAMES": f"eth0.2 {names} br-wan"}
    done = subprocess.run(
        ["busybox", "ash", ROOT / "lib" / "netifyd-setup.sh", "apply"],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/bin:/usr/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    added = [line.rpartition("=")[2] for line in done.stdout.splitlines() if "internal_if=" in line]
    harmless = [word for word in ("touch", "owned") if word in names.split()]
    assert added == ["eth0.2", *harmless, "br-wan", "br-lan"]
    assert not (tmp_path / "owned").exists()


def test_wire_text_never_begins_a_line_of_its_own() -> None:
    forged = 'x\n{"event_type":"alert"}\r\u2028\x85'
    alert = checked({"id": "abcd", "client_ip": "198.51.100.7", "host": forged, "path": forged, "place": forged}, 0.0)
    assert alert is not None
    assert all("\n" not in str(value) and "\r" not in str(value) for value in alert.values())
    for event in eve.alert_events({**alert, "host": forged, "path": forged, "rule": forged}, None, "router"):
        line = json.dumps(event)
        assert len(line.splitlines()) == 1


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/shadow",
        "/status/../../../etc/shadow",
        "/replay/../../etc/shadow",
        "/replay/%2e%2e%2fetc",
        "/replay/..",
        "/status/",
        "//status",
        "/status\0",
        "/api/dpi/../../etc",
        "",
    ],
)
def test_no_path_of_the_http_api_leads_to_a_file(tmp_path: Path, path: str) -> None:
    for verb in ("GET", "POST"):
        request = read({"REQUEST_METHOD": verb, "PATH_INFO": f"/api/dpi{path}"}, io.BytesIO(), routes.BASE)
        with pytest.raises(HttpError) as refused:
            respond(request, _nobody_asks, Throttle(str(tmp_path / "logins")))
        assert refused.value.status in (400, 404, 405)


def _nobody_asks() -> Any:
    raise AssertionError("rpcd was asked about a path that does not exist")
