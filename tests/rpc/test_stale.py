"""The Overview without an engine: the last snapshot's figures and their time; what is no figure is not believed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from dpi_dual import config
from dpi_dual.rpc import stale


def _settings(tmp_path: Path, more: str = "") -> config.Settings:
    (tmp_path / "dpi-dual").write_text(f"config global 'settings'\n\toption stats_dir '{tmp_path}/stats'\n{more}")
    (tmp_path / "stats").mkdir()
    return config.load(str(tmp_path))


def _overview(settings: config.Settings, files: dict[str, Any], records: list[dict[str, Any]]) -> dict[str, Any]:
    return stale.overview(settings, lambda name: files.get(name, {}), False, [], records)


def test_figures_are_the_snapshot_s_and_parts_are_down(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    path = tmp_path / "stats" / "lan-flows.json"
    path.write_text("{}")
    os.utime(path, (1_795_000_000, 1_795_000_000))
    files = {
        "dpi-flows.json": {"flows_1min": 7, "protocols": {"TLS": 3}, "protocol_bytes": {"TLS": 900}},
        "dpi-buffer.json": {"requests_total": 11, "entries": 5},
        "lan-flows.json": {"active_clients": 2},
        "lan-protocols.json": {
            "protocols": [
                {"protocol": "TLS", "application": "youtube", "bytes": 5, "flows": 1},
                {"protocol": "TLS", "application": "Unknown", "bytes": 6, "flows": 1},
            ]
        },
    }
    answer = _overview(settings, files, [])
    assert answer["snapshot_at"] == 1_795_000_000
    assert answer["tap"]["flows_1min"] == 7
    assert (answer["mitm"]["requests_total"], answer["mitm"]["buffer_entries"]) == (11, 5)
    assert answer["lan"]["active_clients"] == 2
    assert answer["distribution"]["tap"]["protocols"] == [{"name": "TLS", "bytes": 900, "flows": 3}]
    assert answer["distribution"]["lan"]["protocols"] == [{"name": "TLS", "bytes": 11, "flows": 2}]
    assert {answer[part]["state"] for part in ("mitm", "tap", "lan", "correlation")} == {"down"}


def test_what_is_switched_off_is_not_called_down(tmp_path: Path) -> None:
    settings = _settings(tmp_path, "\toption mode 'tap-only'\n")
    assert _overview(settings, {}, [])["mitm"]["state"] == "off"


def test_files_of_another_kind_are_not_believed(tmp_path: Path) -> None:
    files = {
        "dpi-flows.json": {"flows_1min": "many", "protocols": [1], "protocol_bytes": {"TLS": "x"}, "rx_bytes": -4},
        "dpi-buffer.json": {"entries": None, "requests_total": True},
        "lan-protocols.json": {"protocols": [1, {"protocol": 5}, {"protocol": "TLS", "bytes": "x", "flows": []}]},
    }
    answer = _overview(_settings(tmp_path), files, [])
    assert answer["tap"]["flows_1min"] == answer["tap"]["rx_bytes"] == answer["mitm"]["requests_total"] == 0
    assert answer["distribution"]["lan"]["protocols"] == [{"name": "TLS", "bytes": 0, "flows": 0}]
    assert answer["snapshot_at"] == 0
    json.dumps(answer)


def test_threats_are_counted_by_the_number_of_the_newest(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = [{"id": 700, "state": "new"}, {"id": 699, "state": "crowdsec_ban"}]
    correlation = _overview(_settings(tmp_path), {}, records)["correlation"]
    assert (correlation["threats_correlated"], correlation["open"], correlation["banned"]) == (700, 1, 1)
