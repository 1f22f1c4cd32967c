"""The configuration: UCI → typed settings; the only reader of `dpi-dual`. `config_edit` writes it.

To add an option: its entry in `schema/uci.json`, its attribute in `settings.py`, its line in `config/dpi-dual`;
tests hold the three together. Nothing in a file can stop the service: what is wrong is named in
`Settings.problems`, with what is used instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dpi_dual import paths, uci
from dpi_dual.model import Problem
from dpi_dual.schema.values import BadValueError, Spec, duration_seconds, parse, schema, show
from dpi_dual.settings import CLASSES, SECRET_CLASSES, Secrets, Settings

__all__ = ["Settings", "defaults", "duration_seconds", "load"]

PACKAGE = "dpi-dual"
SECRETS_PACKAGE = "dpi-dual-secrets"

#: A hostile file must not fill memory, or an answer, with complaints.
MAX_PROBLEMS = 60
MAX_WHERE = 120
MAX_COMPLAINT = 300


def load(config_dir: str = paths.CONFIG_DIR) -> Settings:
    """What is configured now. Never raises: whatever is wrong is named in `problems`, and its default is used."""
    report = _Report()
    sections = _read(PACKAGE, config_dir, report)
    secrets = _read(SECRETS_PACKAGE, config_dir, report)
    if any(section.options for section in secrets):
        _check_secrecy(Path(config_dir, SECRETS_PACKAGE), report)
    settings = _without_mirror_loop(_settings(sections, secrets, report), report)
    return replace(settings, problems=report.problems())


def defaults() -> Settings:
    """The settings when nothing is configured: every option at its default."""
    return _settings((), (), _Report())


def _settings(sections: Sequence[uci.Section], secrets: Sequence[uci.Section], report: _Report) -> Settings:
    specs = schema()
    parts: dict[str, Spec] = specs["secrets"]["properties"]
    main = {name: spec for name, spec in specs.items() if name != "secrets"}
    values: dict[str, Any] = {}
    for name, spec in main.items():
        if spec["type"] == "array":
            values[name] = _repeated(sections, name, spec, report)
        else:
            values[name] = CLASSES[name](**_singleton(PACKAGE, sections, name, spec, report))
    _name_strangers(PACKAGE, sections, main, report)
    secret = {
        name: SECRET_CLASSES[name](**_singleton(SECRETS_PACKAGE, secrets, name, spec, report))
        for name, spec in parts.items()
    }
    _name_strangers(SECRETS_PACKAGE, secrets, parts, report)
    return Settings(**values, secrets=Secrets(**secret))


class _Report:
    """Collects what is wrong, up to a bound."""

    def __init__(self) -> None:
        self._problems: list[Problem] = []
        self._more = 0

    def add(self, code: str, where: str, text: str, hint: str = "", severity: str = "warning") -> None:
        if len(self._problems) >= MAX_PROBLEMS:
            self._more += 1
            return
        # A file may name its sections and options at any length.
        where, text = _bounded(where, MAX_WHERE), _bounded(text, MAX_COMPLAINT)
        self._problems.append(Problem(code, f"{where}: {text}", hint, severity, {"option": where}))

    def problems(self) -> tuple[Problem, ...]:
        if self._more:
            text = f"{PACKAGE}: and {self._more} more problems of this kind"
            return (*self._problems, Problem("config_more_problems", text, details={"count": self._more}))
        return tuple(self._problems)


def _read(package: str, config_dir: str, report: _Report) -> list[uci.Section]:
    where = f"{config_dir}/{package}"
    try:
        document = uci.document(package, config_dir)
    except FileNotFoundError:
        if package != SECRETS_PACKAGE:  # no secrets is how most routers are
            hint = f"install the package again, or copy its default file to {where}"
            report.add("config_missing_file", package, f"there is no file {where}; using defaults", hint)
        return []
    except OSError as error:
        text = f"{where} cannot be read ({error.strerror}); using defaults"
        report.add("config_unreadable_file", package, text, severity="error")
        return []
    for damage in [*document.damage, *document.stray()]:
        line = f"{package} line {damage.line}" if damage.line else package
        report.add("config_damaged_file", line, f"{damage.reason}; skipped", f"correct it in {where}")
    sections = document.sections()
    if not sections and package != SECRETS_PACKAGE:
        report.add("config_damaged_file", package, f"{where} holds no section; using defaults")
    for section in sections:
        if len(section.lines) > 1:
            again = ", ".join(map(str, section.lines[1:6]))
            text = f"section appears again in line {again}; where both set an option, the later one holds"
            report.add("config_duplicate_section", f"{package}.{section.label}", text)
    return sections


def _singleton(
    package: str, sections: Sequence[uci.Section], name: str, spec: Spec, report: _Report
) -> dict[str, object]:
    where = f"{package}.{name}"
    section = next((s for s in sections if s.name == name), None)
    options: Mapping[str, uci.Value] = {}
    if section is None:
        if sections and package != SECRETS_PACKAGE:  # a missing file was named as such
            report.add("config_missing_section", where, "section is missing; using defaults", severity="info")
    elif section.type != spec["uciType"]:
        text = f"section is of type {quoted(section.type)}, not '{spec['uciType']}'; using defaults"
        report.add("config_unknown_section", where, text)
    else:
        options = section.options
    values: dict[str, object] = {}
    for option, entry in spec["properties"].items():
        values[option], complaints = value_of(options.get(option), entry)
        for complaint in complaints:
            report.add("config_bad_value", f"{where}.{option}", complaint)
    _name_unknown_options(where, options, spec, report)
    return values


def _repeated(sections: Sequence[uci.Section], name: str, spec: Spec, report: _Report) -> tuple[object, ...]:
    """All usable sections of a type. One with a bad value is left out whole: a default could widen its effect."""
    items = spec["items"]
    found: list[object] = []
    for section in sections:
        if section.type != spec["uciType"]:
            continue
        where = f"{PACKAGE}.{section.label}"
        if len(found) >= spec["maxItems"]:
            text = f"more than {spec['maxItems']} sections of type '{name}'; this and later ones ignored"
            report.add("config_bad_value", where, text)
            break
        values: dict[str, object] = {}
        usable = True
        for option, entry in items["properties"].items():
            raw = section.options.get(option)
            if raw is None and option in items["required"]:
                report.add("config_bad_value", f"{where}.{option}", "missing; section ignored")
                usable = False
                continue
            values[option], complaints = value_of(raw, entry, "section ignored")
            for complaint in complaints:
                report.add("config_bad_value", f"{where}.{option}", complaint)
                usable = False
        _name_unknown_options(where, section.options, items, report)
        if usable:
            found.append(CLASSES[name](section=section.name, **values))
    return tuple(found)


def value_of(raw: uci.Value | None, spec: Spec, otherwise: str = "") -> tuple[object, list[str]]:
    """An option's typed value, and what was wrong with its text."""
    default = default_of(spec)
    if raw is None:
        return default, []
    if spec["type"] != "array":
        text = raw if isinstance(raw, str) else raw[0] if len(raw) == 1 else None
        using = otherwise or (f"using {show(default)}" if default != "" else "left empty")
        if text is None:
            return default, [f"a list, where one value is wanted; {using}"]
        try:
            return parse(text, spec), []
        except BadValueError as error:
            shown = "the value" if spec.get("writeOnly") else quoted(text)
            return default, [f"{shown} {error}; {using}"]
    texts = raw.split() if isinstance(raw, str) else filter(None, raw)
    good: list[object] = []
    bad: list[str] = []
    for text in dict.fromkeys(texts):
        try:
            good.append(parse(text, spec["items"]))
        except BadValueError as error:
            bad.append(f"{quoted(text)} {error}")
    value = tuple(good) or default
    using = "ignored" if good or not default else f"using {show(default)}"
    complaints = [f"{text}; {using}" for text in bad]
    if len(good) > spec["maxItems"]:
        value = value[: spec["maxItems"]]
        complaints.append(f"more than {spec['maxItems']} entries; the rest ignored")
    return value, complaints


def default_of(spec: Spec) -> Any:
    """An option's default as the settings hold it."""
    default = spec.get("default", "")
    return tuple(default) if isinstance(default, list) else default


def _bounded(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def quoted(text: str) -> str:
    """What stands in a file, for a complaint: printable and cut."""
    plain = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text[:61])
    return f"'{plain[:60]}…'" if len(plain) > 60 else f"'{plain}'"


def _name_unknown_options(where: str, options: Mapping[str, uci.Value], spec: Spec, report: _Report) -> None:
    for option in options:
        if option not in spec["properties"]:
            report.add("config_unknown_option", f"{where}.{option}", "unknown option; ignored")


def _name_strangers(package: str, sections: Sequence[uci.Section], specs: Mapping[str, Spec], report: _Report) -> None:
    """Name the sections that nobody reads: of an unknown type, or of a known one under another name."""
    names = {spec["uciType"]: name for name, spec in specs.items()}
    for section in sections:
        if section.name in specs and specs[section.name]["type"] != "array":
            continue  # read, or already named, by _singleton
        name = names.get(section.type)
        where = f"{package}.{section.label}"
        if name is None:
            report.add("config_unknown_section", where, f"unknown section type {quoted(section.type)}; ignored")
        elif specs[name]["type"] != "array":
            hint = f"begin it with: config {section.type} '{name}'"
            report.add("config_unknown_section", where, f"this section must be called '{name}'; ignored", hint)


def _check_secrecy(path: Path, report: _Report) -> None:
    try:
        mode = path.stat().st_mode & 0o777
    except OSError:
        return  # gone since it was read
    if mode & 0o077:
        text = f"others than root can read it (mode {mode:04o})"
        report.add("config_secrets_readable", SECRETS_PACKAGE, text, f"chmod 600 {path}")


def _without_mirror_loop(settings: Settings, report: _Report) -> Settings:
    """Copies of the capture interface onto itself would go round for ever."""
    tap = settings.tap
    if tap.mirror_mode != "software" or tap.interface not in tap.mirror_source:
        return settings
    text = f"'{tap.interface}' is the capture interface itself; ignored"
    report.add("config_bad_value", f"{PACKAGE}.tap.mirror_source", text)
    rest = tuple(name for name in tap.mirror_source if name != tap.interface)
    return replace(settings, tap=replace(tap, mirror_source=rest))
