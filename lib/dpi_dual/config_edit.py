"""Typed changes of the configuration → UCI, checked before anything is written; the only writer of `dpi-dual`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dpi_dual import paths, uci
from dpi_dual.config import PACKAGE, SECRETS_PACKAGE, default_of, quoted, value_of
from dpi_dual.schema.values import Spec, schema, to_uci


class ConfigError(ValueError):
    """A change that is refused: `option` names what, the text says what is allowed."""

    def __init__(self, option: str, why: str) -> None:
        super().__init__(f"{option}: {why}")
        self.option = option


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
        kept = tuple(default_of(entry)) if raw is None else raw.split() if isinstance(raw, str) else raw
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
            raise ConfigError(where, f"section is of type {quoted(found.type)}, not '{spec['uciType']}'")
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
        typed, complaints = value_of(raw, {**entry, "default": ()} if entry["type"] == "array" else entry, "refused")
        if complaints:
            raise ConfigError(f"{where}.{option}", complaints[0].rpartition(";")[0])
        texts[option] = to_uci(typed)
    return texts
