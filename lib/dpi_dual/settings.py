"""The settings as typed values: one frozen class for each section type, one attribute for each option.

Types, defaults, ranges and meanings stand in `schema/uci.json`; `config.load()` makes these from the files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dpi_dual.model import Problem


@dataclass(frozen=True, slots=True)
class Global:
    enabled: bool
    mode: str
    correlation: bool
    stats_dir: str
    flow_dir: str
    state_dir: str
    checkpoint_interval: int


@dataclass(frozen=True, slots=True)
class Mitm:
    enabled: bool
    buffer_size: int
    buffer_dir: str
    buffer_retention: int
    encrypt_buffer: bool
    async_analysis: bool
    replay_on_alert: bool
    block_threats: bool
    block_threshold: int
    alert_threshold: int
    paranoia: int
    waf_engine: str
    crs_dir: str
    manage: bool
    listen: str
    redact_headers: tuple[str, ...]
    trusted_proxy: tuple[str, ...]
    max_body: int


@dataclass(frozen=True, slots=True)
class Modify:
    section: str
    """The UCI section's name, by which it can be removed."""
    host: str
    path: str
    phase: str
    action: str
    name: str
    match: str
    value: str


@dataclass(frozen=True, slots=True)
class Exclusion:
    section: str
    rule: str
    host: str
    path: str
    param: str


@dataclass(frozen=True, slots=True)
class Haproxy:
    enabled: bool
    bind: str
    certificate: str
    fail_open: bool


@dataclass(frozen=True, slots=True)
class Backend:
    section: str
    name: str
    host: str
    address: str


@dataclass(frozen=True, slots=True)
class Tap:
    enabled: bool
    interface: str
    mirror_source: tuple[str, ...]
    mirror_mode: str
    flow_retention: int
    netifyd_instance: str
    netifyd_socket: str


@dataclass(frozen=True, slots=True)
class Lan:
    enabled: bool
    interface: tuple[str, ...]
    realtime: bool
    track_clients: bool
    track_destinations: bool
    track_protocols: bool
    aggregate_interval: int
    client_retention: int
    history_days: int
    netifyd_instance: str
    netifyd_socket: str


@dataclass(frozen=True, slots=True)
class Correlation:
    enabled: bool
    window: int
    output: str
    watch_crowdsec: bool
    auto_ban: bool
    auto_ban_threshold: int
    auto_ban_duration: str
    notifications: bool
    notification_threshold: int
    reputation_decay: int
    decay_interval: int
    sensitivity: str
    webhook: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scoring:
    waf_block: int
    waf_alert: int
    crowdsec_ban: int
    dpi_threat: int
    scanner: int
    brute_force: int
    default: int


@dataclass(frozen=True, slots=True)
class Whitelist:
    ip: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Crowdsec:
    url: str
    machine_id: str
    ban_mode: str


@dataclass(frozen=True, slots=True)
class Export:
    sensor_id: str
    prometheus: bool
    textfile: str
    influx_url: str
    eve: bool
    eve_path: str
    eve_spool_mb: int
    mqtt: bool
    mqtt_host: str
    mqtt_port: int
    mqtt_tls: bool
    mqtt_user: str
    mqtt_topic: str


@dataclass(frozen=True, slots=True, repr=False)
class CrowdsecSecrets:
    password: str
    bouncer_key: str


@dataclass(frozen=True, slots=True, repr=False)
class ExportSecrets:
    mqtt_password: str
    influx_token: str


@dataclass(frozen=True, slots=True)
class Secrets:
    """The second file; the parts are not shown when printed."""

    crowdsec: CrowdsecSecrets
    export: ExportSecrets


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that is configured. `problems` is what was wrong with the files, and what is used instead."""

    settings: Global
    mitm: Mitm
    modify: tuple[Modify, ...]
    exclusion: tuple[Exclusion, ...]
    haproxy: Haproxy
    backend: tuple[Backend, ...]
    tap: Tap
    lan: Lan
    correlation: Correlation
    scoring: Scoring
    whitelist: Whitelist
    crowdsec: Crowdsec
    export: Export
    secrets: Secrets
    problems: tuple[Problem, ...] = ()

    def parts(self) -> frozenset[str]:
        """Which of mitm, tap, lan and correlation are to run."""
        if not self.settings.enabled:
            return frozenset()
        wanted = {
            "mitm": self.mitm.enabled and self.settings.mode in ("dual", "mitm-only"),
            "tap": self.tap.enabled and self.settings.mode in ("dual", "tap-only"),
            "lan": self.lan.enabled,
            "correlation": self.correlation.enabled and self.settings.correlation,
        }
        return frozenset(part for part, runs in wanted.items() if runs)


#: The class of each section in `uci.json`.
CLASSES: dict[str, type[Any]] = {
    "settings": Global,
    "mitm": Mitm,
    "modify": Modify,
    "exclusion": Exclusion,
    "haproxy": Haproxy,
    "backend": Backend,
    "tap": Tap,
    "lan": Lan,
    "correlation": Correlation,
    "scoring": Scoring,
    "whitelist": Whitelist,
    "crowdsec": Crowdsec,
    "export": Export,
}
SECRET_CLASSES: dict[str, type[Any]] = {"crowdsec": CrowdsecSecrets, "export": ExportSecrets}
