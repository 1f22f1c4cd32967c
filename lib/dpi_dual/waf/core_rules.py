"""The OWASP Core Rule Set, run by libmodsecurity: a request in, the rules that matched out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpi_dual.waf.request import Request
from dpi_dual.waf.verdict import Hit, cleaned

#: Where Debian's `modsecurity-crs` puts its rules.
DEBIAN_RULES = Path("/usr/share/modsecurity-crs/rules")

#: 910 needs a GeoIP library that the wheel lacks, 912 counts over requests, 949 and later only add up and report.
_LEFT_OUT = re.compile(r"REQUEST-(?:900|910|912|949|999)")

_MAX_BODY = 1_048_576

#: `auditlog` in the default actions: without it libmodsecurity reports only some of the matches to the callback.


class CrsUnavailableError(RuntimeError):
    """The deep tier cannot run here; the text says what to install."""


@dataclass(frozen=True, slots=True)
class CrsHit:
    """One Core Rule Set rule that matched."""

    rule: int
    paranoia: int
    severity: int
    """0 emergency … 2 critical … 7 debug, as ModSecurity numbers them."""
    message: str
    place: str
    matched: str


def rules_directory(crs_dir: str = "") -> Path:
    """The directory of `.conf` files: `crs_dir` (or its `rules/`, as CRS 4 is unpacked), else Debian's."""
    if crs_dir:
        found = next(
            (path for path in (Path(crs_dir), Path(crs_dir, "rules")) if any(path.glob("REQUEST-9*.conf"))), None
        )
        if found is None:
            raise CrsUnavailableError(f"{crs_dir} holds no Core Rule Set (REQUEST-9*.conf)")
        return found
    if any(DEBIAN_RULES.glob("REQUEST-9*.conf")):
        return DEBIAN_RULES
    raise CrsUnavailableError("the Core Rule Set is not installed: apt-get install modsecurity-crs, or set crs_dir")


def _setup(paranoia: int, version: int) -> str:
    level = "paranoia_level" if version < 400 else "blocking_paranoia_level"
    extra = "" if version < 400 else f",setvar:tx.detection_paranoia_level={paranoia}"
    return f"""
SecRuleEngine DetectionOnly
SecRequestBodyAccess On
SecResponseBodyAccess Off
SecRequestBodyLimit {_MAX_BODY}
SecRequestBodyNoFilesLimit {_MAX_BODY}
SecRequestBodyLimitAction ProcessPartial
SecRequestBodyJsonDepthLimit 64
SecArgumentsLimit 1000
SecAuditEngine Off
SecDefaultAction "phase:1,log,auditlog,pass"
SecDefaultAction "phase:2,log,auditlog,pass"
SecRule REQUEST_HEADERS:Content-Type "^(?:application(?:/soap\\+|/)|text/)xml" \
 "id:200000,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=XML"
SecRule REQUEST_HEADERS:Content-Type "^application/(?:[\\w.-]+\\+)?json" \
 "id:200001,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON"
SecAction "id:900990,phase:1,nolog,pass,t:none,\
setvar:tx.crs_setup_version={version},setvar:tx.{level}={paranoia}{extra},\
setvar:tx.enforce_bodyproc_urlencoded=1,setvar:tx.allowed_methods=GET HEAD POST OPTIONS PUT PATCH DELETE"
"""


_PLACE = re.compile(r"found within ([A-Z_]+(?::(?:[^:\s]|:(?!\s)){1,80})?)")
_DATA = re.compile(r"Matched Data: (.{0,200}?) found within", re.DOTALL)
_LEVEL = "paranoia-level/"


class CoreRuleSet:
    """The loaded rules. One transaction at a time: matches are reported without a transaction's name."""

    def __init__(self, crs_dir: str = "", paranoia: int = 1) -> None:
        directory = rules_directory(crs_dir)
        try:
            import libmodsecurity
        except ImportError as error:
            raise CrsUnavailableError(
                "libmodsecurity is not installed for this Python: pip install 'dpi-dual[mitm]'"
            ) from error
        self._messages: list[Any] = []
        self._engine = libmodsecurity.ModSecurity()
        self._engine.set_rule_message_callback(self._messages.append)
        self._rules = libmodsecurity.RulesSet()
        version = 334 if not any(directory.glob("REQUEST-922*")) or _is_three(directory) else 400
        self._load(self._rules.load(_setup(paranoia, version)), "the set-up")
        for path in sorted(directory.glob("REQUEST-9*.conf")):
            if not _LEFT_OUT.match(path.name):
                self._load(self._rules.load_from_uri(str(path)), str(path))
        self._transaction = libmodsecurity.Transaction

    def _load(self, loaded: int, what: str) -> None:
        if loaded < 0:
            raise CrsUnavailableError(f"libmodsecurity refuses {what}: {self._rules.get_parser_error().strip()[:300]}")

    def hits(self, request: Request) -> list[CrsHit]:
        """The rules that match, each place once."""
        self._messages.clear()
        transaction = self._transaction(self._engine, self._rules)
        transaction.process_connection("192.0.2.1", 40000, "192.0.2.2", 80)
        transaction.process_uri(_printable(request.raw_path) or "/", _printable(request.method) or "GET", "1.1")
        for name, value in request.headers:
            transaction.add_request_header(name, _printable(value))
        body = request.body[:_MAX_BODY].encode("utf-8", "surrogateescape" if _escaped(request.body) else "replace")
        if body and not request.header("content-length"):
            transaction.add_request_header("content-length", str(len(body)))
        transaction.process_request_headers()
        if body:
            transaction.append_request_body(body)
        transaction.process_request_body()
        return list(dict.fromkeys(_hits(self._messages)))


def _is_three(directory: Path) -> bool:
    """Whether these are CRS 3 rules, by the variable in which they keep the paranoia level."""
    return "tx.executing_paranoia_level" in (directory / "REQUEST-901-INITIALIZATION.conf").read_text(
        "utf-8", "replace"
    )


def _printable(text: str) -> str:
    return text.replace("\0", "%00").encode("utf-8", "replace").decode()


def _escaped(text: str) -> bool:
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _hits(messages: list[Any]) -> Iterator[CrsHit]:
    for message in messages:
        if not 911_000 <= message.rule_id < 949_000:
            continue
        try:
            text = message.data
        except UnicodeDecodeError:
            # The binding cannot hand over a match that is not UTF-8; that it matched is what counts.
            text = ""
        place = _PLACE.search(text)
        data = _DATA.search(text)
        level = next((tag.removeprefix(_LEVEL) for tag in message.tags if tag.startswith(_LEVEL)), "1")
        yield CrsHit(
            message.rule_id,
            int(level) if level.isdecimal() else 1,
            message.severity,
            message.message,
            place[1] if place else "REQUEST",
            cleaned(data[1] if data else text),
        )


#: Rule number, without its last three digits, to category.
_FAMILIES = {
    911: "protocol",
    913: "scanner",
    920: "protocol",
    921: "crlf",
    922: "protocol",
    930: "lfi",
    931: "rfi",
    932: "rce",
    933: "php",
    934: "rce",
    941: "xss",
    942: "sqli",
    943: "protocol",
    944: "java",
}
_CATEGORIES = {
    921110: "protocol",
    921130: "crlf",
    921180: "protocol",
    921200: "ldap",
    930100: "path_traversal",
    930110: "path_traversal",
    932170: "shellshock",
    932171: "shellshock",
    934110: "ssrf",
    934120: "ssrf",
    934180: "ssti",
    942290: "nosqli",
    944150: "log4shell",
    944151: "log4shell",
    944152: "log4shell",
}

#: Rules that enforce form rather than find an attack cannot alert alone, nor a few of them together.
_FORM_ONLY = frozenset({911, 920, 922, 943})

#: Rules of paranoia 1 that ordinary text and ordinary programs set off; they need company at the same place.
_WEAK = {
    921110: 20,
    921130: 20,
    921150: 10,
    921160: 20,
    921180: 5,
    930100: 24,
    930110: 18,
    931100: 20,
    931120: 20,
    932100: 6,
    932105: 6,
    932110: 6,
    932115: 8,
    932120: 20,
    932130: 4,
    932140: 3,
    932150: 4,
    932160: 20,
    932230: 14,
    932235: 14,
    932250: 14,
    932260: 10,
    932340: 10,
    932370: 14,
    932380: 10,
    933120: 24,
    933150: 20,
    933160: 22,
    933210: 12,
    934100: 24,
    941100: 10,
    941120: 22,
    941130: 18,
    941140: 24,
    941160: 2,
    941180: 18,
    941210: 20,
    941260: 18,
    941270: 20,
    941310: 5,
    941320: 5,
    941370: 20,
    942140: 20,
    942151: 20,
    942170: 20,
    942190: 18,
    942220: 5,
    942230: 8,
    942270: 20,
    942350: 24,
    942360: 20,
    942500: 14,
    942540: 10,
    942550: 24,
    944100: 24,
}
_TRUSTED_SCORE = 35
_FORM_SCORE = 4
#: Rules of a stricter level: where that level was asked for, two of them at one place tell; else they only support.
_ASKED_SCORE, _SUPPORT_SCORE = 20, 4

#: 942100 reports libinjection's fingerprint: with union, a statement, a comment or a semicolon it is SQL, with a string
#: it may be, and of numbers, names, functions and logic alone it is any search box's text;
#: a name and two hyphens are a dash. A string in an expression of so many parts is SQL again.
_WHOLE = 4
_LIBINJECTION = 942100


def _fingerprint_score(fingerprint: str) -> int:
    if fingerprint != "nc" and any(letter in fingerprint for letter in "UEcTX;"):
        return 33
    if len(fingerprint) >= _WHOLE and "s" in fingerprint and ("&" in fingerprint or "o" in fingerprint):
        return 31
    return 22 if "s" in fingerprint else 12


def weighed(hit: CrsHit, paranoia: int = 1) -> Hit:
    """A Core Rule Set match in our terms; the score says how much it is worth by itself at the level asked for."""
    family = hit.rule // 1000
    category = _CATEGORIES.get(hit.rule) or _FAMILIES.get(family, "protocol")
    if family in _FORM_ONLY:
        score = _FORM_SCORE
    elif hit.paranoia > 1:
        score = _ASKED_SCORE if hit.paranoia <= paranoia else _SUPPORT_SCORE
    elif hit.rule == _LIBINJECTION:
        score = _fingerprint_score(hit.matched)
    else:
        score = _WEAK.get(hit.rule, _TRUSTED_SCORE)
    return Hit(str(hit.rule), category, hit.place, hit.matched, score)
