"""Markup as a browser would see it: the tags of a value with their attributes, and what in them runs."""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_TEXT = 65_536
MAX_TAGS = 400

#: A tag as forgiving parsers open one; its attributes end at `>`, at the next `<`, or with the text.
_TAG = re.compile(r"<[/!?%]?\s{0,4}([a-z][\w:\-]{0,30})([^<>]{0,2048})")
#: A tag without attributes, inside a word.
_SHORT_TAG = re.compile(r"(?<=[a-z])</?[a-z]{1,10}/?>(?=[a-z(])")
_SPLIT_TEXT = 2_048
_BLANK = re.compile(r"[\x00-\x20]+")

#: Events that fire without a name of their own making; `on…=` of anything else is no handler.
_EVENTS = r"""
abort activate afterprint afterscriptexecute afterupdate animation\w{0,16} auxclick beforeactivate beforecopy
beforecut beforedeactivate beforeinput beforematch beforepaste beforeprint beforescriptexecute beforetoggle
beforeunload begin blur bounce cancel canplay canplaythrough cellchange change click close
contentvisibilityautostatechange contextmenu copy cuechange cut dataavailable datasetchanged datasetcomplete
dblclick deactivate drag drag\w{1,6} drop durationchange emptied end ended error errorupdate filterchange
finish focus focusin focusout focuschange formchange forminput formdata fullscreenchange hashchange help input
invalid key\w{1,6} languagechange layoutcomplete load load\w{1,8} losecapture message mouse\w{1,6} mousewheel
move moveend movestart offline online page\w{1,8} paste pause play playing pointer\w{1,14} popstate progress
propertychange ratechange readystatechange repeat reset resize resizeend resizestart reverse rowdelete
rowenter rowexit rowsinserted scroll scroll\w{1,10} search seeked seeking securitypolicyviolation seek select
selectionchange selectstart show slotchange stalled start stop storage submit suspend syncrestored timeout
timeupdate toggle touch\w{1,8} trackchange transition\w{1,8} undo unhandledrejection unload urlflip
volumechange waiting webkit\w{1,30} wheel
"""
_HANDLER = re.compile(rf"(?:^|[\s/\"'`,;\x00-\x20])on(?:{'|'.join(_EVENTS.split())})\s{{0,8}}=")
#: In a tag, anything after `on` runs sooner or later: new events come every year.
_ANY_HANDLER = re.compile(r"(?:^|[\s/\"'`])on[a-z]{3,40}\s{0,8}=")
#: A value that ends the attribute it was put into, then adds one of its own.
_BREAKOUT = re.compile(rf"[\"'`>/\s]\s{{0,8}}on(?:{'|'.join(_EVENTS.split())})\s{{0,8}}=\s{{0,8}}(?=[^\s=&])")

_SCHEME = re.compile(
    r"(?:java|vb|live|j)script:(?!\s{0,4}(?:void\(0?\)|;|\"|'|$|history\.|window\.print|false|#))|mocha:|data:(?:text/(?:html|javascript|xml)|image/svg|application/(?:xhtml|xml|javascript)|,<|;base64,phn)"
)
_URL_ATTRIBUTE = re.compile(
    r"(?:href|src|action|formaction|data|xlink:href|from|to|values|srcdoc|poster|background|lowsrc|dynsrc|code|content|style|codebase|"
    r"folder|url|srcset|manifest|ping)\s{0,8}=\s{0,8}[\"'`]?\s{0,8}([^\"'`>]{0,512})"
)
_SCRIPT_CALL = re.compile(
    r"(?:alert|confirm|prompt|eval|print|fetch|settimeout|setinterval|import|atob)\s{0,4}(?:\(|`|&#)|document\s{0,2}[.\[]|"
    r"location\s{0,2}[.=\[]|window\s{0,2}[.\[=]|\.call\(|string\.fromcharcode|throw\b|this\[|top\["
)
_RUNS = frozenset({"script", "x:script", "svg:script", "applet", "bgsound", "ilayer", "frameset"})
_LOADS = frozenset({"iframe", "frame", "object", "embed", "base", "meta", "link", "layer", "portal", "import"})
_FOREIGN = frozenset(
    {
        "svg",
        "math",
        "xss",
        "isindex",
        "xml",
        "animate",
        "set",
        "foreignobject",
        "noembed",
        "xmp",
        "listing",
        "plaintext",
    }
)
_STYLE = re.compile(
    r"expression\s{0,4}\(|-moz-binding|behaviou?r\s{0,4}:|@import|javascript:|url\s{0,4}\(\s{0,4}[\"']?\s{0,4}(?:javascript|data:text)|\\[0-9a-f]{2}"
)
_BENIGN_SRC = re.compile(r"src\s{0,4}=\s{0,4}[\"']?(?:https?:)?//")


def detect(text: str) -> Iterator[tuple[str, str]]:
    """(rule, what matched) for each sign in `text` (folded)."""
    text = text[:MAX_TEXT]
    count = 0
    for match in _TAG.finditer(text):
        count += 1
        if count > MAX_TAGS:
            break
        name, attributes = match.groups()
        yield from _tag(name, attributes, match[0])
    if count and "=" in text:
        # Filters that take unknown tags out join what stood around them: `o<x>nload=`.
        joined = _SHORT_TAG.sub("", text[:_SPLIT_TEXT])
        split = _BREAKOUT.search(joined)
        if split and not _BREAKOUT.search(text):
            yield "xss-attribute-breakout", joined[split.start() : split.start() + 80]
    if "on" in text:
        breakout = _BREAKOUT.search(text)
        if breakout and (count == 0 or "<" not in text[: breakout.start()]):
            start = breakout.start()
            script = _SCRIPT_CALL.search(text, breakout.end(), breakout.end() + 200)
            yield (
                "xss-attribute-breakout" if text[start] in "\"'`" or script else "xss-handler",
                text[start : start + 80],
            )
        elif not count:
            handler = _HANDLER.match(text)
            if handler:
                script = _SCRIPT_CALL.search(text, handler.end(), handler.end() + 200)
                yield "xss-attribute-breakout" if script else "xss-handler-bare", text[:80]


def _tag(name: str, attributes: str, tag: str) -> Iterator[tuple[str, str]]:
    local = name.rpartition(":")[2]
    if name in _RUNS or local == "script" or name.startswith("script"):
        yield "xss-script-tag", tag
    if "=" in attributes:
        if _ANY_HANDLER.search(attributes) or (name.startswith("on") and attributes.lstrip()[:1] == "="):
            yield "xss-event-handler", tag
        for value in _URL_ATTRIBUTE.findall(attributes):
            tight = _BLANK.sub("", value)
            if _SCHEME.match(tight) or _SCHEME.search(tight):
                yield "xss-script-url", tag
        if "style" in attributes and _STYLE.search(attributes):
            yield "xss-style", tag
        if "srcdoc" in attributes or "formaction" in attributes:
            yield "xss-script-url", tag
    if not tag.startswith("</"):
        yield from _by_name(name, attributes, tag)


def _by_name(name: str, attributes: str, tag: str) -> Iterator[tuple[str, str]]:
    if name == "xss":
        yield "xss-loading-tag", tag
    elif name in _LOADS:
        if name == "meta" and "http-equiv" not in attributes:
            return
        if name == "link" and not ("stylesheet" in attributes or "import" in attributes):
            return
        if name == "base" and "href" not in attributes:
            return
        rule = (
            "xss-embedded-content"
            if name in ("iframe", "embed", "object", "link") and _ORDINARY_EMBED.search(attributes)
            else "xss-loading-tag"
        )
        yield rule, tag
    elif name in _FOREIGN:
        yield "xss-foreign-tag", tag
    elif name == "style":
        yield "xss-style-tag", tag


_ORDINARY_EMBED = re.compile(r"(?:src|data|href)\s{0,4}=\s{0,4}[\"'](?:https?:|/)")
_MARKUP = re.compile(r"<[/!?%]?\s{0,4}[a-z]|\bon[a-z]{3,40}\s{0,8}=")


def worth_a_look(text: str) -> bool:
    """Whether `text` has a tag or an attribute that could run."""
    return _MARKUP.search(text) is not None
