"""The fields of a request body: form, JSON, XML, multipart, or one text; each by a parser that cannot be made slow."""

from __future__ import annotations

import json
import re
from typing import Any

from dpi_dual.waf.normalise import percent_decoded
from dpi_dual.waf.request import MAX_FIELDS, Collector, add_pairs

MAX_DEPTH = 32
MAX_PARTS = 200

#: Larger JSON is looked at as one text: parsing it would cost more than the live path has.
MAX_JSON = 1_048_576

_FORM_START = re.compile(r"[\w.\-%$\[\]+:]{1,128}=")
#: Deeper than any real document; checked before the parser's own recursion limit is.
_NESTED = re.compile(r"(?:[\[{]\s{0,8}){64}")


def add_body(collector: Collector, content_type: str, body: str) -> None:
    """Parses by the declared type, and by looks when it is missing, general, or plainly wrong."""
    declared = content_type[:200].lower()
    start = body[:64].lstrip("\ufeff \t\r\n")
    if "multipart/" in declared:
        if not _add_multipart(collector, content_type, body):
            collector.malformed.add("multipart")
            collector.add("body", "", body)
    elif start[:1] in ("{", "["):
        if not _add_json(collector, body):
            if "json" in declared:
                collector.malformed.add("json")
            _add_text(collector, body)
    elif "xml" in declared or start[:5] == "<?xml":
        _add_xml(collector, body)
    elif start[:1] == "<":
        # Nobody said what this is: a document to one application, text to another.
        _add_xml(collector, body)
        collector.add("body", "", body)
    elif "json" in declared:
        if not _add_json(collector, body):
            collector.malformed.add("json")
            _add_text(collector, body)
    else:
        _add_text(collector, body)


def _add_text(collector: Collector, body: str) -> None:
    if _FORM_START.match(body):
        add_pairs(collector, body.rstrip("\r\n"), "body")
    else:
        collector.add("body", "", percent_decoded(body.replace("+", " ")) if "%" in body else body)


def _add_json(collector: Collector, body: str) -> bool:
    if len(body) > MAX_JSON or _NESTED.search(body[:4096]):
        collector.truncated.add("depth")
        return False
    try:
        document = json.loads(body, parse_constant=str)
    except (ValueError, RecursionError):
        return False
    _flatten(collector, document)
    return True


def _flatten(collector: Collector, document: Any) -> None:
    """Breadth by a stack of our own: no depth of nesting can exhaust the interpreter's."""
    stack: list[tuple[str, Any, int]] = [("json", document, 0)]
    seen = 0
    while stack:
        place, value, depth = stack.pop()
        seen += 1
        if seen > 8 * MAX_FIELDS:
            collector.truncated.add("fields")
            return
        if isinstance(value, str):
            if not collector.add("args", place, value):
                return
        elif isinstance(value, dict | list):
            if depth >= MAX_DEPTH:
                collector.truncated.add("depth")
                collector.add("args", place, str(value)[:4096])
                continue
            if isinstance(value, dict):
                for name in value:
                    if not _WORD.fullmatch(name) and not collector.add("names", place, name):
                        return
                stack += [(f"{place}.{name}"[:200], inner, depth + 1) for name, inner in reversed(value.items())]
            else:
                stack += [(place, inner, depth + 1) for inner in reversed(value)]


_WORD = re.compile(r"(?!__)[\w\-]{1,128}")

_XML_TEXT = re.compile(r">([^<>]{1,65536})<")
_XML_TAG = re.compile(r"<([a-zA-Z_][\w:.\-]{0,127})([^<>]{0,8192})>")
_XML_ATTRIBUTE = re.compile(r"([\w:.\-]{1,128})\s{0,8}=\s{0,8}(?:\"([^\"]{0,8192})\"|'([^']{0,8192})')")
_CDATA = re.compile(r"<!\[cdata\[([^\]]{0,65536})\]\]>", re.IGNORECASE)


def _add_xml(collector: Collector, body: str) -> None:
    """Texts and attribute values without an XML parser: no entity is ever expanded.

    The whole document is one field more, for what is an attack in XML itself; CDATA hides text from the tag patterns.
    """
    collector.add("xml", "", body)
    plain = body
    if "<![" in body:
        for match in _CDATA.finditer(body):
            if not collector.add("args", "xml.cdata", match[1]):
                return
        plain = _CDATA.sub(" ", body)
    for match in _XML_TEXT.finditer(plain):
        if not match[1].isspace() and not collector.add("args", "xml", match[1].strip()):
            return
    for tag in _XML_TAG.finditer(plain):
        if "=" in tag[2]:
            for name, double, single in _XML_ATTRIBUTE.findall(tag[2]):
                if not name.startswith("xmlns") and not collector.add("args", f"xml.{name}", double or single):
                    return


_BOUNDARY = re.compile(r"boundary=\"?([^\";,\s]{1,100})", re.IGNORECASE)
_DISPOSITION = re.compile(r"(file)?name(\*?)=(?:\"([^\"\r\n]{0,1024})\"|([^;\s]{0,1024}))", re.IGNORECASE)


def _add_multipart(collector: Collector, content_type: str, body: str) -> bool:
    boundary = _BOUNDARY.search(content_type)
    if not boundary:
        return False
    parts = body.split("--" + boundary[1], MAX_PARTS + 2)
    if len(parts) < 2:
        return False
    if len(parts) > MAX_PARTS + 1:
        collector.truncated.add("fields")
    for part in parts[1 : MAX_PARTS + 1]:
        if part.startswith("--"):
            break
        _add_part(collector, part)
    return True


def _add_part(collector: Collector, part: str) -> None:
    head, blank, content = part.lstrip("\r\n").replace("\r\n", "\n").partition("\n\n")
    if not blank:
        collector.malformed.add("multipart")
        collector.add("body", "", part)
        return
    name, filename = "", None
    for is_file, star, quoted, bare in _DISPOSITION.findall(head[:8192]):
        found = quoted or bare
        if star and "''" in found:
            found = percent_decoded(found.partition("''")[2])
        if is_file:
            filename = found
        else:
            name = found
    if name and not _WORD.fullmatch(name):
        collector.add("names", name, name)
    content = content.removesuffix("\n")
    if filename is None:
        collector.add("args", name, content)
    else:
        collector.add("files", name, filename)
        collector.add("file_content", name, content)
