"""The configuration: UCI → typed settings, and typed changes → UCI; the only reader and writer of `dpi-dual`.

To add an option: its entry in `schema/uci.json`, its attribute in `settings.py`, its line in `config/dpi-dual`;
tests hold the three together. Nothing in a file can stop the service: what is wrong is named in
`Settings.problems`, with what is used instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dpi_dual import paths, uci
from dpi_dual.model import Problem
from dpi_dual.schema.values import BadValueError, Spec, duration_seconds, parse, schema, show, to_uci
from dpi_dual.settings import CLASSES, SECRET_CLASSES, Secrets, Settings

__all__ = ["ConfigError", "Settings", "add", "change_list", "defaults", "duration_seconds", "load", "remove", "write"]

PACKAGE = "dpi-dual"
SECRETS_PACKAGE = "dpi-dual-secrets"

#: A hostile file must not fill memory, or an answer, with complaints.
MAX_PROBLEMS = 60
MAX_WHERE = 120
MAX_COMPLAINT = 300


class ConfigError(ValueError):
    """A change that is refused: `option` names what, the text says what is allowed."""

    def __init__(self, option: str, why: str) -> None:
        super().__init__(f"{option}: {why}")
        self.option = option


# --- reading ---------------------------------------------------------------------------------------------------


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
        text = f"section is of type {_shown(section.type)}, not '{spec['uciType']}'; using defaults"
        report.add("config_unknown_section", where, text)
    else:
        options = section.options
    values: dict[str, object] = {}
    for option, entry in spec["properties"].items():
        values[option], complaints = _value(options.get(option), entry)
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
            values[option], complaints = _value(raw, entry, "section ignored")
            for complaint in complaints:
                report.add("config_bad_value", f"{where}.{option}", complaint)
                usable = False
        _name_unknown_options(where, section.options, items, report)
        if usable:
            found.append(CLASSES[name](section=section.name, **values))
    return tuple(found)


def _value(raw: uci.Value | None, spec: Spec, otherwise: str = "") -> tuple[object, list[str]]:
    """An option's typed value, and what was wrong with its text."""
    default = _default(spec)
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
            shown = "the value" if spec.get("writeOnly") else _shown(text)
            return default, [f"{shown} {error}; {using}"]
    texts = raw.split() if isinstance(raw, str) else filter(None, raw)
    good: list[object] = []
    bad: list[str] = []
    for text in dict.fromkeys(texts):
        try:
            good.append(parse(text, spec["items"]))
        except BadValueError as error:
            bad.append(f"{_shown(text)} {error}")
    value = tuple(good) or default
    using = "ignored" if good or not default else f"using {show(default)}"
    complaints = [f"{text}; {using}" for text in bad]
    if len(good) > spec["maxItems"]:
        value = value[: spec["maxItems"]]
        complaints.append(f"more than {spec['maxItems']} entries; the rest ignored")
    return value, complaints


def _default(spec: Spec) -> Any:
    default = spec.get("default", "")
    return tuple(default) if isinstance(default, list) else default


def _bounded(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _shown(text: str) -> str:
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
            report.add("config_unknown_section", where, f"unknown section type {_shown(section.type)}; ignored")
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


# --- writing ---------------------------------------------------------------------------------------------------


def write(changes: Mapping[str, Mapping[str, object]], config_dir: str = paths.CONFIG_DIR, notify: bool = True) -> bool:
    """Change options: `{"tap": {"flow_retention": 600, "mirror_source": ["eth1"]}}`; None goes back to the default.

    The keys are sections of `Settings`, `secrets.crowdsec` and `secrets.export`, or the UCI name of a `modify`,
    `exclusion` or `backend` section. Everything is checked before anything is written; ConfigError names what
    is refused. Returns whether procd was told: where it was not, the caller makes the engine reload. Waits for a
    lock: not for an event loop's own thread.
    """
    specs = schema()
    plain, secret = dict[str, Mapping[str, object]](), dict[str, Mapping[str, object]]()
    for name, options in changes.items():
        (secret if name.startswith("secrets.") else plain)[name.removeprefix("secrets.")] = options
    parts = specs["secrets"]["properties"]
    for name, options in secret.items():
        if name not in parts:
            raise ConfigError(f"{SECRETS_PACKAGE}.{name}", f"no such section; there are {', '.join(parts)}")
        _checked(f"{SECRETS_PACKAGE}.{name}", options, parts[name])
    told = True
    if plain:
        told = _edit(PACKAGE, config_dir, notify, lambda doc: _apply(doc, PACKAGE, plain, specs))
    if secret:
        told = (
            _edit(SECRETS_PACKAGE, config_dir, notify, lambda doc: _apply(doc, SECRETS_PACKAGE, secret, parts)) and told
        )
    return told


def add(
    section_type: str, values: Mapping[str, object], config_dir: str = paths.CONFIG_DIR, notify: bool = True
) -> str:
    """Add a `modify`, `exclusion` or `backend` section; returns its UCI name."""
    spec = schema().get(section_type)
    if spec is None or spec["type"] != "array":
        raise ConfigError(f"{PACKAGE}.{section_type}", "not a type of which there can be more than one section")
    texts = _checked(f"{PACKAGE}.{section_type}", values, spec["items"])
    for option in spec["items"]["required"]:
        if not texts.get(option):
            raise ConfigError(f"{PACKAGE}.{section_type}.{option}", "missing")
    names: list[str] = []

    def change(doc: uci.Document) -> None:
        names.append(doc.add_section(spec["uciType"]))
        for option, text in texts.items():
            doc.set(names[0], option, text)

    _edit(PACKAGE, config_dir, notify, change)
    return names[0]


def remove(section: str, config_dir: str = paths.CONFIG_DIR, notify: bool = True) -> None:
    """Remove a `modify`, `exclusion` or `backend` section by its UCI name."""

    def change(doc: uci.Document) -> None:
        found = doc.section(section)
        repeated = {spec["uciType"] for spec in schema().values() if spec["type"] == "array"}
        if found is None or found.type not in repeated:
            raise ConfigError(f"{PACKAGE}.{section}", "no such section that could be removed")
        doc.delete_section(section)

    _edit(PACKAGE, config_dir, notify, change)


def change_list(
    section: str,
    option: str,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    config_dir: str = paths.CONFIG_DIR,
    notify: bool = True,
) -> tuple[str, ...]:
    """Add to and remove from a list option, such as `whitelist.ip`; returns the list as it is now."""
    where = f"{PACKAGE}.{section}"
    spec = schema().get(section, {"properties": {}})
    entry = spec.get("properties", {}).get(option)
    if entry is None or entry["type"] != "array":
        raise ConfigError(f"{where}.{option}", "no such list")
    _checked(where, {option: list(add)}, spec)
    now: list[str] = []

    def change(doc: uci.Document) -> None:
        found = doc.section(section)
        raw = found.options.get(option) if found else None
        kept = tuple(_default(entry)) if raw is None else raw.split() if isinstance(raw, str) else raw
        now.extend(dict.fromkeys([*(text for text in kept if text not in remove), *add]))
        _apply(doc, PACKAGE, {section: {option: now}}, schema())

    _edit(PACKAGE, config_dir, notify, change)
    return tuple(now)


def _edit(package: str, config_dir: str, notify: bool, change: Callable[[uci.Document], None]) -> bool:
    with uci.edit(package, config_dir) as doc:
        change(doc)
    return notify and uci.config_changed(package)


def _apply(
    doc: uci.Document, package: str, changes: Mapping[str, Mapping[str, object]], specs: Mapping[str, Spec]
) -> None:
    repeated = {spec["uciType"]: spec["items"] for spec in specs.values() if spec["type"] == "array"}
    for name, options in changes.items():
        where = f"{package}.{name}"
        found = doc.section(name)
        spec = specs.get(name)
        if spec is None or "uciType" not in spec or spec["type"] == "array":
            if found is None or found.type not in repeated:
                raise ConfigError(where, "no such section")
            spec = repeated[found.type]
        elif found is None:
            doc.add_section(spec["uciType"], name)
        elif found.type != spec["uciType"]:
            raise ConfigError(where, f"section is of type {_shown(found.type)}, not '{spec['uciType']}'")
        for option, text in _checked(where, options, spec).items():
            if not text and option in spec.get("required", ()):
                raise ConfigError(f"{where}.{option}", "cannot be empty")
            doc.set(name, option, text)


def _checked(where: str, options: Mapping[str, object], spec: Spec) -> dict[str, str | tuple[str, ...] | None]:
    """The options as UCI text, or ConfigError for the first that is not allowed."""
    texts: dict[str, str | tuple[str, ...] | None] = {}
    for option, value in options.items():
        entry = spec["properties"].get(option)
        if entry is None:
            raise ConfigError(f"{where}.{option}", f"no such option; there are {', '.join(spec['properties'])}")
        raw = to_uci(value)
        if isinstance(value, bool) and entry["type"] != "boolean":
            raise ConfigError(f"{where}.{option}", "on or off is not what this option is about")
        if not raw:
            texts[option] = None
            continue
        typed, complaints = _value(raw, {**entry, "default": ()} if entry["type"] == "array" else entry, "refused")
        if complaints:
            raise ConfigError(f"{where}.{option}", complaints[0].rpartition(";")[0])
        texts[option] = to_uci(typed)
    return texts
