"""Every change of the configuration is checked before anything is written, and keeps what it does not change."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpi_dual import config, config_edit, uci
from dpi_dual.config_edit import ConfigError
from tests.default_files import DEFAULT_FILE, DEFAULTS, OPTIONS


def test_a_write_changes_what_it_says_and_keeps_comments(config_dir: Path) -> None:
    before = (config_dir / "dpi-dual").read_text()
    config_edit.write({"tap": {"flow_retention": 600}, "correlation": {"auto_ban": True}}, str(config_dir))
    assert (config_dir / "dpi-dual").read_text() == before.replace("'300'", "'600'").replace(
        "auto_ban '0'", "auto_ban '1'"
    )
    loaded = config.load(str(config_dir))
    assert (loaded.tap.flow_retention, loaded.correlation.auto_ban, loaded.problems) == (600, True, ())
    config_edit.write({"tap": {"flow_retention": None}}, str(config_dir))
    assert config.load(str(config_dir)).tap.flow_retention == 300


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"tap": {"flow_retention": 5}}, "dpi-dual.tap.flow_retention: '5' is not between 10 and 86400 seconds"),
        ({"tap": {"flow_retention": "x"}}, "dpi-dual.tap.flow_retention: 'x' is not a number of seconds"),
        ({"tap": {"flow_retention": True}}, "dpi-dual.tap.flow_retention: on or off is not what this option is about"),
        ({"tap": {"interface": ["a", "b"]}}, "dpi-dual.tap.interface: a list, where one value is wanted"),
        ({"settings": {"mode": "both"}}, "dpi-dual.settings.mode: 'both' is not one of dual, mitm-only, tap-only"),
        ({"whitelist": {"ip": ["::1", "x"]}}, "dpi-dual.whitelist.ip: 'x' is not an IP address or network"),
        ({"export": {"sensor_id": "a\nb"}}, "dpi-dual.export.sensor_id: 'a\\x0ab' has characters that are not text"),
        ({"whitelist": {"i": "1"}}, "dpi-dual.whitelist.i: no such option; there are ip"),
        ({"nothing": {"a": "1"}}, "dpi-dual.nothing: no such section"),
        ({"modify": {"a": "1"}}, "dpi-dual.modify: no such section"),
        ({"secrets": {"a": "1"}}, "dpi-dual.secrets: no such section"),
        ({"secrets.x": {"a": "1"}}, "dpi-dual-secrets.x: no such section; there are crowdsec, export"),
        (
            {"secrets.export": {"a": "1"}},
            "dpi-dual-secrets.export.a: no such option; there are mqtt_password, influx_token",
        ),
    ],
)  # fmt: skip
def test_a_refused_write_names_what_is_allowed_and_writes_nothing(config_dir: Path, changes: Any, why: str) -> None:
    before = (config_dir / "dpi-dual").read_bytes()
    with pytest.raises(ConfigError) as refused:
        config_edit.write({"lan": {"history_days": 7}, **changes}, str(config_dir))
    assert str(refused.value) == why
    assert refused.value.option == why.partition(": ")[0]
    assert (config_dir / "dpi-dual").read_bytes() == before


def test_a_write_makes_what_is_missing(tmp_path: Path) -> None:
    config_edit.write({"lan": {"interface": ["br-lan", "wg0"]}, "secrets.export": {"influx_token": "t"}}, str(tmp_path))
    assert (
        tmp_path / "dpi-dual"
    ).read_text() == "config lan 'lan'\n\tlist interface 'br-lan'\n\tlist interface 'wg0'\n"
    assert stat.S_IMODE((tmp_path / "dpi-dual-secrets").stat().st_mode) == 0o600


def test_the_whitelist_grows_and_shrinks(config_dir: Path) -> None:
    where = str(config_dir)
    assert config_edit.change_list("whitelist", "ip", add=["192.0.2.1", "2001:db8::/32"], config_dir=where)
    assert config_edit.change_list(
        "whitelist", "ip", add=["192.0.2.1"], remove=["2001:db8::/32"], config_dir=where
    ) == ("192.0.2.1",)
    assert config.load(where).whitelist.ip == ("192.0.2.1",)
    with pytest.raises(ConfigError, match=r"dpi-dual\.whitelist\.ip: 'x' is not an IP address or network"):
        config_edit.change_list("whitelist", "ip", add=["x"], config_dir=where)
    with pytest.raises(ConfigError, match="no such list"):
        config_edit.change_list("whitelist", "name", add=["x"], config_dir=where)
    # what is not written yet starts from its default
    assert config_edit.change_list("mitm", "trusted_proxy", add=["10.0.0.2"], config_dir=where) == (
        "127.0.0.1",
        "::1",
        "10.0.0.2",
    )


def test_sections_are_added_changed_and_removed(config_dir: Path) -> None:
    where = str(config_dir)
    name = config_edit.add("exclusion", {"rule": "942100", "path": "/search"}, where)
    (exclusion,) = config.load(where).exclusion
    assert (exclusion.section, exclusion.rule, exclusion.path) == (name, "942100", "/search")
    config_edit.write({name: {"param": "q"}}, where)
    assert config.load(where).exclusion[0].param == "q"
    with pytest.raises(ConfigError, match="rule: cannot be empty"):
        config_edit.write({name: {"rule": None}}, where)
    config_edit.remove(name, where)
    assert config.load(where) == DEFAULTS
    for section_type, values, why in [
        ("exclusion", {"path": "/"}, r"dpi-dual\.exclusion\.rule: missing"),
        ("exclusion", {"rule": "1", "path": "x"}, "'x' is not a path that begins with /"),
        ("tap", {}, "not a type of which there can be more than one"),
        ("secrets", {}, "not a type of which there can be more than one"),
    ]:
        with pytest.raises(ConfigError, match=why):
            config_edit.add(section_type, values, where)
    with pytest.raises(ConfigError, match="no such section"):
        config_edit.remove("tap", where)


@given(st.data())
def test_whatever_the_schema_allows_is_written_and_read_back(data: st.DataObject) -> None:
    section, option, spec = data.draw(st.sampled_from([o for o in OPTIONS if o[2]["type"] != "array"]))
    value: object
    if spec["type"] == "boolean":
        value = data.draw(st.booleans())
    elif spec["type"] == "integer":
        value = data.draw(st.integers(spec["minimum"], spec["maximum"]))
    elif "enum" in spec:
        value = data.draw(st.sampled_from(spec["enum"]))
    elif spec["format"] == "text":
        value = data.draw(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40))
    else:
        value = spec["default"]
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "dpi-dual").write_bytes(DEFAULT_FILE.read_bytes())
        config_edit.write({section: {option: value}}, directory)
        loaded = config.load(directory)
        assert getattr(getattr(loaded, section), option) == value
        assert [p for p in loaded.problems if option in p.message] == []


def test_procd_is_told_once_for_each_file(config_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = config_dir / "told"
    ubus = config_dir / "ubus"
    ubus.write_text(f'#!/bin/sh\necho "$4" >> {told}\n')
    ubus.chmod(0o755)
    monkeypatch.setattr(uci, "UBUS", str(ubus))
    monkeypatch.setattr(uci, "PROCD", os.devnull)
    where = str(config_dir)
    assert config_edit.write({"tap": {"flow_retention": 60}, "lan": {"realtime": 0}}, where) is True
    assert config_edit.write({"secrets.export": {"mqtt_password": "x"}}, where) is True
    assert config_edit.write({"tap": {"flow_retention": 61}}, where, notify=False) is False
    assert [json.loads(line)["data"]["package"] for line in told.read_text().splitlines()] == [
        "dpi-dual",
        "dpi-dual-secrets",
    ]
