"""Schema, classes, default files and page agree; nothing in a file stops the loader."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dpi_dual import config, config_edit, uci
from dpi_dual.config_edit import ConfigError
from dpi_dual.schema.values import parse
from tests.default_files import DEFAULT_FILE, DEFAULTS, OPTIONS, REPEATED, SCHEMA, SINGLETONS


def load_text(directory: Path, *lines: str) -> config.Settings:
    (directory / "dpi-dual").write_text("\n".join(lines) + "\n")
    return config.load(str(directory))


def messages(loaded: config.Settings, *, least: str = "warning") -> list[str]:
    return [p.message for p in loaded.problems if least == "info" or p.severity != "info"]


def valid(loaded: config.Settings) -> None:
    """What every consumer may rely on, whatever the file was: the schema holds."""
    values = dataclasses.asdict(loaded)
    values.pop("problems")
    for name in REPEATED:
        for item in values[name]:
            item.pop("section")
    plain = json.loads(json.dumps(values))
    jsonschema.Draft202012Validator(SCHEMA).validate(plain)
    for section, option, spec in OPTIONS:
        value = plain[section][option]
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and text:
                parse(text, spec.get("items", spec))


# --- the sources agree -----------------------------------------------------------------------------------------


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_every_option_has_a_help_line_and_a_default_that_is_allowed() -> None:
    for section, option, spec in OPTIONS:
        assert spec["description"], (section, option)
        if spec["type"] == "array":
            for item in spec["default"]:
                parse(item, spec["items"])
        elif spec["default"] != "":
            written = "01"[spec["default"]] if spec["type"] == "boolean" else str(spec["default"])
            assert parse(written, spec) == spec["default"], (section, option)


def test_the_default_files_are_clean_and_say_the_defaults(config_dir: Path) -> None:
    assert config.load(str(config_dir)) == DEFAULTS
    assert DEFAULTS.problems == ()
    valid(DEFAULTS)


@pytest.mark.parametrize("secrets", [False, True])
def test_the_default_files_name_every_option(secrets: bool) -> None:
    sections = SCHEMA["properties"]["secrets"]["properties"] if secrets else SCHEMA["properties"]
    shown: dict[str, list[str]] = {}
    name = ""
    for line in DEFAULT_FILE.with_name("dpi-dual-secrets" if secrets else "dpi-dual").read_text().splitlines():
        words = line.lstrip("#\t").split()
        if line.startswith(("config ", "#config ")):
            name = words[2].strip("'") if len(words) > 2 else words[1]
            shown[name] = []
        elif line.startswith(("\toption ", "\tlist ", "#\toption ", "#\tlist ")) and words[1] not in shown[name]:
            shown[name].append(words[1])
    wanted = {name: spec for name, spec in sections.items() if name != "secrets"}
    assert {name: sorted(options) for name, options in shown.items()} == {
        name: sorted(spec.get("items", spec)["properties"]) for name, spec in wanted.items()
    }


def test_what_the_default_file_sets_is_written_out_and_the_rest_is_empty(config_dir: Path) -> None:
    sections = {s.name: s.options for s in uci.read("dpi-dual", str(config_dir))}
    for section, option, spec in OPTIONS:
        assert (option in sections[section]) == (spec["default"] not in ("", [])), (section, option)


# --- values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("tap.flow_retention abc", "'abc' is not a number of seconds; using 300"),
        ("tap.flow_retention 3.5", "'3.5' is not a number of seconds; using 300"),
        ("tap.flow_retention 1e3", "'1e3' is not a number of seconds; using 300"),
        ("tap.flow_retention ٣٠٠", "'٣٠٠' is not a number of seconds; using 300"),
        ("tap.flow_retention 5", "'5' is not between 10 and 86400 seconds; using 300"),
        ("tap.flow_retention -1", "'-1' is not between 10 and 86400 seconds; using 300"),
        ("tap.flow_retention " + "9" * 40, f"'{'9' * 40}' is not a number of seconds; using 300"),
        ("tap.enabled maybe", "'maybe' is not 0 or 1; using 1"),
        ("tap.enabled 2", "'2' is not 0 or 1; using 1"),
        ("settings.mode both", "'both' is not one of dual, mitm-only, tap-only; using dual"),
        ("mitm.paranoia five", "'five' is not a whole number; using 1"),
        ("mitm.paranoia 5", "'5' is not between 1 and 4; using 1"),
        ("mitm.block_threshold 101", "'101' is not between 1 and 100 points; using 50"),
        ("mitm.crs_dir rules", "'rules' is not an absolute path without ..; left empty"),
        ("mitm.listen 8088", "'8088' is not address:port; using 127.0.0.1:8088"),
        ("tap.interface a/b", "'a/b' is not the name of a network interface; using tap0"),
        (
            "tap.interface averyveryverylongname",
            "'averyveryverylongname' is not the name of a network interface; using tap0",
        ),
        (
            "correlation.auto_ban_duration soon",
            "'soon' is not a duration such as 30m, 4h or 7d, at most a year; using 4h",
        ),
        ("correlation.webhook ftp://x", "'ftp://x' is not an http:// or https:// address; ignored"),
        ("crowdsec.url localhost", "'localhost' is not an http:// or https:// address; using http://127.0.0.1:8080"),
        ("export.mqtt_port 0", "'0' is not between 1 and 65535; using 8883"),
        ("export.mqtt_port http", "'http' is not a port number; using 8883"),
        ("export.mqtt_host a_b..c", "'a_b..c' is not a host name or address; left empty"),
        ("export.mqtt_topic a/#", "'a/#' is not an MQTT topic without # and +; using dpi-dual"),
        ("whitelist.ip 300.1.1.1", "'300.1.1.1' is not an IP address or network; ignored"),
        ("tap.mirror_source eth0/1", "'eth0/1' is not the name of a network interface; using eth0"),
    ],
)
def test_a_bad_value_is_named_with_what_is_used_instead(config_dir: Path, line: str, problem: str) -> None:
    where, _, value = line.partition(" ")
    section, option = where.split(".")
    uci.set_options("dpi-dual", section, {option: value}, str(config_dir))
    loaded = config.load(str(config_dir))
    assert messages(loaded) == [f"dpi-dual.{where}: {problem}"]
    assert dataclasses.replace(loaded, problems=()) == DEFAULTS
    valid(loaded)


@pytest.mark.parametrize(
    ("text", "value"),
    [(t, True) for t in ("1", "on", "yes", "true", "enabled", "On")]
    + [(t, False) for t in ("0", "off", "no", "false", "disabled", "FALSE")],
)
def test_switches(tmp_path: Path, text: str, value: bool) -> None:
    assert load_text(tmp_path, "config haproxy 'haproxy'", f"option enabled {text}").haproxy.enabled is value


def test_an_option_may_stand_for_a_list_and_a_list_of_one_for_an_option(tmp_path: Path) -> None:
    loaded = load_text(
        tmp_path, "config tap 'tap'", "option mirror_source 'eth0 wan0'",
        "list interface 'tap1'", "list mirror_mode 'a'", "list mirror_mode 'b'",
    )  # fmt: skip
    assert loaded.tap.mirror_source == ("eth0", "wan0")
    assert loaded.tap.interface == "tap1"
    assert messages(loaded) == ["dpi-dual.tap.mirror_mode: a list, where one value is wanted; using software"]


def test_a_bad_entry_of_a_list_leaves_the_good_ones(tmp_path: Path) -> None:
    loaded = load_text(
        tmp_path, "config whitelist 'whitelist'", *(f"list ip {i}" for i in ("::1", "x", "::1", "10.0.0.0/8"))
    )
    assert loaded.whitelist.ip == ("::1", "10.0.0.0/8")
    assert messages(loaded) == ["dpi-dual.whitelist.ip: 'x' is not an IP address or network; ignored"]


def test_a_mirror_loop_is_cut(tmp_path: Path) -> None:
    loaded = load_text(
        tmp_path, "config tap 'tap'", "option interface t0", "list mirror_source t0", "list mirror_source w0"
    )
    assert loaded.tap.mirror_source == ("w0",)
    assert messages(loaded) == ["dpi-dual.tap.mirror_source: 't0' is the capture interface itself; ignored"]


def test_hostile_text_is_shown_short_and_harmless(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, "config global 'settings'", "option mode '" + "\x1b[2J" + "é" * 4000 + "'")
    (message,) = messages(loaded)
    assert message.startswith("dpi-dual.settings.mode: '\\x1b[2Jéé")
    assert len(message) < 160


# --- sections --------------------------------------------------------------------------------------------------


def test_what_nobody_reads_is_named(tmp_path: Path) -> None:
    loaded = load_text(
        tmp_path,
        "config tap 'tap'", "option colour red",
        "config thing 'x'",
        "config thing",
        "config lan 'home'", "option enabled 0",
        "config foo 'mitm'",
        "config tap 'tap'", "option flow_retention 20",
    )  # fmt: skip
    assert loaded.tap.flow_retention == 20
    assert loaded.lan.enabled is True
    assert sorted(messages(loaded)) == [
        "dpi-dual.@thing[1]: unknown section type 'thing'; ignored",
        "dpi-dual.home: this section must be called 'lan'; ignored",
        "dpi-dual.mitm: section is of type 'foo', not 'mitm'; using defaults",
        "dpi-dual.tap.colour: unknown option; ignored",
        "dpi-dual.tap: section appears again in line 8; where both set an option, the later one holds",
        "dpi-dual.x: unknown section type 'thing'; ignored",
    ]
    assert "dpi-dual.lan: section is missing; using defaults" in messages(loaded, least="info")


@pytest.mark.parametrize("section", SINGLETONS)
def test_a_missing_section_is_named_and_defaulted(config_dir: Path, section: str) -> None:
    uci.delete_section("dpi-dual", section, str(config_dir))
    loaded = config.load(str(config_dir))
    assert messages(loaded, least="info") == [f"dpi-dual.{section}: section is missing; using defaults"]
    assert dataclasses.replace(loaded, problems=()) == DEFAULTS


def test_sections_of_any_number(tmp_path: Path) -> None:
    loaded = load_text(
        tmp_path,
        "config backend 'web'", "option host www.example.org", "option address 192.0.2.1:80",
        "config backend", "option host *.example.net", "option address https://nas:443",
        "config backend", "option host h",
        "config exclusion", "option rule 942100", "option path nonsense",
        "config exclusion", "option rule 942100", "option path /search", "option param q",
        "config modify", "option action explode",
        "config modify", "option action set_header", "option name X", "option value 'a b'", "option colour red",
    )  # fmt: skip
    assert [(b.section, b.host, b.address) for b in loaded.backend] == [
        ("web", "www.example.org", "192.0.2.1:80"),
        ("cfg0226ed", "*.example.net", "https://nas:443"),
    ]
    # a default for the bad path would have silenced the rule everywhere
    assert [(e.rule, e.path, e.param) for e in loaded.exclusion] == [("942100", "/search", "q")]
    assert [(m.action, m.phase, m.value) for m in loaded.modify] == [("set_header", "request", "a b")]
    assert messages(loaded) == [
        "dpi-dual.@modify[0].action: 'explode' is not one of set_header, remove_header, replace_body; section ignored",
        "dpi-dual.@modify[1].colour: unknown option; ignored",
        "dpi-dual.@exclusion[0].path: 'nonsense' is not a path that begins with /; section ignored",
        "dpi-dual.@backend[2].address: missing; section ignored",
    ]
    valid(loaded)


def test_too_many_sections_and_too_many_complaints_are_bounded(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, *("config exclusion\noption rule 1" for _ in range(1000)))
    assert len(loaded.exclusion) == 200
    loaded = load_text(tmp_path, "config tap 'tap'", *(f"option o{n} 1" for n in range(1000)))
    assert len(loaded.problems) == config.MAX_PROBLEMS + 1
    assert loaded.problems[-1].message == "dpi-dual: and 949 more problems of this kind"


# --- files -----------------------------------------------------------------------------------------------------


def test_a_missing_file(tmp_path: Path) -> None:
    loaded = config.load(str(tmp_path))
    assert messages(loaded) == [f"dpi-dual: there is no file {tmp_path}/dpi-dual; using defaults"]
    assert dataclasses.replace(loaded, problems=()) == DEFAULTS


def test_an_empty_file(tmp_path: Path) -> None:
    assert messages(load_text(tmp_path)) == [f"dpi-dual: {tmp_path}/dpi-dual holds no section; using defaults"]


def test_an_unreadable_file(tmp_path: Path) -> None:
    (tmp_path / "dpi-dual").mkdir()  # root can read any file, but nobody a directory
    loaded = config.load(str(tmp_path))
    assert messages(loaded) == [f"dpi-dual: {tmp_path}/dpi-dual cannot be read (Is a directory); using defaults"]
    assert loaded.problems[0].severity == "error"


def test_a_damaged_line(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, "config lan 'lan'", "\toption history_days '7", "\toption realtime '0'")
    assert (loaded.lan.history_days, loaded.lan.realtime) == (30, False)
    assert messages(loaded) == ["dpi-dual line 2: a quote is not closed on this line; skipped"]


def test_a_file_cut_at_any_byte_gives_all_before_the_cut(tmp_path: Path) -> None:
    whole = DEFAULT_FILE.read_bytes().replace(b"'300'", b"'301'", 1)
    assert whole != DEFAULT_FILE.read_bytes()
    marked = whole.index(b"'301'") + 5
    for length in range(len(whole)):
        (tmp_path / "dpi-dual").write_bytes(whole[:length])
        loaded = config.load(str(tmp_path))
        assert loaded.tap.flow_retention == (301 if length >= marked else 300), length
        # the first of a list's two entries may be all that is left of it
        assert loaded.mitm.trusted_proxy in (DEFAULTS.mitm.trusted_proxy, DEFAULTS.mitm.trusted_proxy[:1])
        mitm = dataclasses.replace(loaded.mitm, trusted_proxy=DEFAULTS.mitm.trusted_proxy)
        tap = dataclasses.replace(loaded.tap, flow_retention=300)
        rest = dataclasses.replace(loaded, problems=(), tap=tap, mitm=mitm)
        assert rest == DEFAULTS, length
        if length < whole.index(b"config export"):
            assert loaded.problems, length


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary())
def test_any_bytes_as_a_file(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "dpi-dual").write_bytes(data)
    (tmp_path / "dpi-dual-secrets").write_bytes(data)
    valid(config.load(str(tmp_path)))


def lines_of_any_value() -> st.SearchStrategy[str]:
    names = [f"{section}.{option}" for section, option, _ in OPTIONS]
    text = st.text(st.characters(exclude_characters="\n'", exclude_categories=["Cs"]), max_size=20)
    return st.tuples(st.sampled_from(names), st.sampled_from(["option", "list"]), text).map(
        lambda t: "config {} '{}'\n\t{} {} '{}'".format(
            SCHEMA["properties"][t[0].split(".")[0]]["uciType"], *(t[0].split(".")[:1]), t[1], t[0].split(".")[1], t[2]
        )
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(lines_of_any_value(), max_size=8))
def test_any_value_in_any_option(tmp_path: Path, lines: list[str]) -> None:
    valid(load_text(tmp_path, *lines))


def test_a_file_with_bytes_flipped(tmp_path: Path) -> None:
    whole = DEFAULT_FILE.read_bytes()
    for at in range(0, len(whole), 31):
        for flip in (0x01, 0x80, 0x07):
            (tmp_path / "dpi-dual").write_bytes(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :])
            valid(config.load(str(tmp_path)))


@pytest.mark.parametrize(
    "unit",
    ["'\n", '"x\n', "\\\n", "c a b\n", "c a\n", "l ip ::1\n", "o x 1\n", ";", "a ", "\0\n", "c exclusion\no rule 1\n"],
)
def test_a_large_file_of_nonsense_is_bounded(tmp_path: Path, unit: str) -> None:
    (tmp_path / "dpi-dual").write_text("config whitelist 'whitelist'\n" + unit * (300_000 // len(unit)))
    loaded = config.load(str(tmp_path))
    assert 0 < len(loaded.problems) <= config.MAX_PROBLEMS + 1
    assert "larger than 262144 bytes" in loaded.problems[0].message
    valid(loaded)


# --- which parts run -------------------------------------------------------------------------------------------

ALL = {"mitm", "tap", "lan", "correlation"}


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({}, ALL),
        ({"settings": {"enabled": False}}, set()),
        ({"settings": {"mode": "mitm-only"}}, ALL - {"tap"}),
        ({"settings": {"mode": "tap-only"}}, ALL - {"mitm"}),
        ({"settings": {"mode": "tap-only"}, "tap": {"enabled": False}}, {"lan", "correlation"}),
        ({"mitm": {"enabled": False}}, ALL - {"mitm"}),
        ({"lan": {"enabled": False}}, ALL - {"lan"}),
        ({"settings": {"correlation": False}}, ALL - {"correlation"}),
        ({"correlation": {"enabled": False}}, ALL - {"correlation"}),
    ],
)
def test_parts(config_dir: Path, changes: dict[str, dict[str, Any]], parts: set[str]) -> None:
    config_edit.write(changes, str(config_dir))
    assert config.load(str(config_dir)).parts() == parts


# --- secrets ---------------------------------------------------------------------------------------------------


def test_secrets_are_read_and_never_shown(config_dir: Path) -> None:
    config_edit.write(
        {"secrets.crowdsec": {"password": "hunter2"}, "secrets.export": {"influx_token": "t0ken"}}, str(config_dir)
    )
    loaded = config.load(str(config_dir))
    assert loaded.secrets.crowdsec.password == "hunter2"
    assert loaded.secrets.export.influx_token == "t0ken"
    assert loaded.problems == ()
    assert "hunter2" not in repr(loaded)
    assert "t0ken" not in repr(loaded)
    assert "hunter2" not in (config_dir / "dpi-dual").read_text()


def test_a_bad_secret_is_named_without_being_shown(config_dir: Path) -> None:
    (config_dir / "dpi-dual-secrets").write_text(f"config crowdsec 'crowdsec'\n\toption password '{'x' * 2000}'\n")
    assert messages(config.load(str(config_dir))) == [
        "dpi-dual-secrets.crowdsec.password: the value is longer than 1024 characters; left empty"
    ]
    with pytest.raises(ConfigError) as refused:
        config_edit.write({"secrets.crowdsec": {"password": "hunter2\n"}}, str(config_dir))
    assert "hunter2" not in str(refused.value)


def test_secrets_that_others_can_read_are_named(config_dir: Path) -> None:
    path = config_dir / "dpi-dual-secrets"
    path.chmod(0o644)
    assert config.load(str(config_dir)).problems == ()  # nothing in it yet
    config_edit.write({"secrets.crowdsec": {"bouncer_key": "k"}}, str(config_dir))
    (problem,) = config.load(str(config_dir)).problems
    assert problem.message == "dpi-dual-secrets: others than root can read it (mode 0644)"
    assert problem.hint == f"chmod 600 {path}"
