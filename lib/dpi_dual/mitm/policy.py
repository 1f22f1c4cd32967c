"""What addon and analyser work by: the settings of the MITM stream, as they travel from the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

from dpi_dual import config
from dpi_dual.settings import Backend, Exclusion, Mitm, Modify, Settings

MAX_SECTIONS = 200

Section = TypeVar("Section", Mitm, Modify, Exclusion, Backend)


class PolicyError(ValueError):
    """A policy that cannot be used; `str()` names what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A section of the settings each; immutable, so that a request is judged by one policy from start to end."""

    mitm: Mitm
    modify: tuple[Modify, ...] = ()
    exclusion: tuple[Exclusion, ...] = ()
    backend: tuple[Backend, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For the wire: plain JSON values."""
        return {
            "mitm": asdict(self.mitm),
            "modify": [asdict(section) for section in self.modify],
            "exclusion": [asdict(section) for section in self.exclusion],
            "backend": [asdict(section) for section in self.backend],
        }

    def changed(self, **options: Any) -> Policy:
        """With other options of `mitm`."""
        return replace(self, mitm=replace(self.mitm, **options))


def of_settings(settings: Settings) -> Policy:
    """The part of all settings that this stream needs."""
    return Policy(settings.mitm, settings.modify, settings.exclusion, settings.backend)


def default() -> Policy:
    """Every option at its default."""
    return of_settings(config.defaults())


_KINDS: dict[str, type] = {"bool": bool, "int": int, "str": str}


def _section(kind: type[Section], given: Any) -> Section:
    if not isinstance(given, Mapping):
        raise PolicyError(f"{kind.__name__.lower()} is not an object")
    values: dict[str, Any] = {}
    for field in fields(kind):
        value = given.get(field.name)
        if field.type in _KINDS:
            if type(value) is not _KINDS[str(field.type)]:
                raise PolicyError(f"{kind.__name__.lower()}.{field.name} is not of type {field.type}")
        else:
            if not isinstance(value, list | tuple) or not all(isinstance(entry, str) for entry in value):
                raise PolicyError(f"{kind.__name__.lower()}.{field.name} is not a list of texts")
            value = tuple(value)
        values[field.name] = value
    return kind(**values)


def _sections(kind: type[Section], given: Any) -> tuple[Section, ...]:
    if not isinstance(given, list) or len(given) > MAX_SECTIONS:
        raise PolicyError(f"{kind.__name__.lower()} is not a list of at most {MAX_SECTIONS}")
    return tuple(_section(kind, entry) for entry in given)


def from_dict(given: Any) -> Policy:
    """The inverse of `as_dict`; raises PolicyError."""
    if not isinstance(given, Mapping):
        raise PolicyError("the policy is not an object")
    return Policy(
        _section(Mitm, given.get("mitm")),
        _sections(Modify, given.get("modify")),
        _sections(Exclusion, given.get("exclusion")),
        _sections(Backend, given.get("backend")),
    )
