"""What a value means to the programs behind: encodings undone, obfuscation folded; every step linear and bounded."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error

#: How often percent-encoding is undone beyond what the parser did; one is what filters forget, two is plenty.
EXTRA_ROUNDS = 2

_PERCENT = re.compile(rb"%([0-9a-fA-F]{2})")
_PERCENT_U = re.compile(r"%u([0-9a-fA-F]{4})", re.IGNORECASE)
_ENCODED = re.compile(r"%(?:[0-9a-fA-F]{2}|[uU][0-9a-fA-F]{4})")
_BYTE = {f"{value:02x}".encode(): bytes((value,)) for value in range(256)}
_BYTE |= {f"{value:02X}".encode(): bytes((value,)) for value in range(256)}


def _byte(match: re.Match[bytes]) -> bytes:
    digits = match[1]
    return _BYTE.get(digits) or _BYTE[digits.lower()]


#: UTF-8 that is longer than it need be (RFC 3629 section 3 forbids it): C0/C1 for ASCII, E0 80-9F, F0 80-8F.
_OVERLONG = re.compile(rb"[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f][\x80-\xbf]|\xf0[\x80-\x8f][\x80-\xbf]{2}")


def _shortest(match: re.Match[bytes]) -> bytes:
    first, *rest = match[0]
    code = first & (0x1F if first < 0xE0 else 0x0F if first < 0xF0 else 0x07)
    for byte in rest:
        code = code << 6 | byte & 0x3F
    return bytes((code,)) if code < 0x80 else chr(code).encode("utf-8", "replace")


def text_of(data: bytes) -> str:
    """Bytes as text: UTF-8, overlong forms accepted as a careless decoder would, else Latin-1."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        shortest = _OVERLONG.sub(_shortest, data)
        try:
            return shortest.decode()
        except UnicodeDecodeError:
            return shortest.decode("latin-1")


def percent_decoded(text: str) -> str:
    """`%41` and `%u0041` undone once; what is no valid escape stays."""
    if "%" not in text:
        return text
    if "%u" in text or "%U" in text:
        text = _PERCENT_U.sub(lambda match: chr(int(match[1], 16)), text)
    return text_of(_PERCENT.sub(_byte, text.encode("utf-8", "surrogatepass")))


_ENTITIES = {
    "lt": "<",
    "gt": ">",
    "quot": '"',
    "apos": "'",
    "amp": "&",
    "tab": "\t",
    "newline": "\n",
    "colon": ":",
    "lpar": "(",
    "rpar": ")",
    "sol": "/",
    "bsol": "\\",
    "nbsp": " ",
    "equals": "=",
    "grave": "`",
    "lbrace": "{",
    "rbrace": "}",
    "dollar": "$",
    "period": ".",
    "semi": ";",
    "lsqb": "[",
    "rsqb": "]",
    "comma": ",",
    "num": "#",
}
_ENTITY = re.compile(r"&(?:#(?:x([0-9a-f]{1,6})|([0-9]{1,7}))|([a-z]{2,7}));?", re.IGNORECASE)


def _entity(match: re.Match[str]) -> str:
    hexadecimal, decimal, name = match.groups()
    if name:
        return _ENTITIES.get(name.lower(), match[0])
    code = int(hexadecimal, 16) if hexadecimal else int(decimal)
    return chr(code) if 0 < code < 0x110000 and not 0xD800 <= code < 0xE000 else ""


_ESCAPE = re.compile(
    r"\\(?:u([0-9a-f]{4})|u\{0{0,8}([0-9a-f]{1,6})\}|x([0-9a-f]{2})|u0{1,4}([0-9a-f]{4}))", re.IGNORECASE
)
#: Octal escapes, several after one another: a Windows path may well have one.
_OCTAL = re.compile(r"(?:\\[01]?[0-7]{2}){4,200}")


def _escape(match: re.Match[str]) -> str:
    code = int(match[match.lastindex or 1], 16)
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else ""


def _octal(match: re.Match[str]) -> str:
    return "".join(chr(int(digits, 8)) for digits in match[0].split("\\")[1:])


#: Forms that databases, browsers and file systems take for ASCII: full width, look-alikes with best-fit mappings.
_LOOK_ALIKE: dict[int, int | None] = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_LOOK_ALIKE |= {
    0x3000: 0x20,
    0x00A0: 0x20,
    0x02B9: 0x27,
    0x02BC: 0x27,
    0x2032: 0x27,
    0x2215: 0x2F,
    0x2216: 0x5C,
    0xFE64: 0x3C,
    0xFE65: 0x3E,
    0x2329: 0x3C,
    0x232A: 0x3E,
    0x2024: 0x2E,
    0x212A: 0x6B,
    0x017F: 0x73,
    0x200B: None,
    0x200C: None,
    0x200D: None,
    0xFEFF: None,
    0x00AD: None,
}

_UTF7 = re.compile(r"\+(A(?:Dw|D4|CI|Cc|Cg|Ck|C8|D0|Hs|H0))-?")
_UTF7_CHARS = {
    "ADw": "<",
    "AD4": ">",
    "ACI": '"',
    "ACc": "'",
    "ACg": "(",
    "ACk": ")",
    "AC8": "/",
    "AD0": "=",
    "AHs": "{",
    "AH0": "}",
}

_BLANKS = re.compile(r"[ \t\x0b\x0c]{2,}|[\t\x0b\x0c]")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")

#: Nothing here that any step below would change, apart from case.
_STRAIGHT = re.compile(r"[ !\"#$'()*,\-./0-9:;<=>?@A-Z\[\]^_`a-z{|}~\n]*\Z")


#: ASP takes a percent sign that encodes nothing out: `%s%e%l%e%c%t`.
#: Letters that no format directive has are among them: `%s%n%x` is something else.
_SCATTERED = re.compile(r"(?=(?:%[A-Za-z]){3})(?:%[A-Za-z]){0,8}%[HJKLMQRTVWYZhjklmqrtvwyz]")
_SCATTER = re.compile(r"%(?=[A-Za-z])")


def decoded(value: str) -> str:
    """All encodings undone, case kept."""
    if _STRAIGHT.match(value):
        return value
    for _ in range(EXTRA_ROUNDS):
        before = value
        if "%" in value and _ENCODED.search(value):
            # A form's blanks are `+`: what is encoded as a whole has no others.
            value = percent_decoded(value if " " in value else value.replace("+", " "))
        if "&" in value:
            value = _ENTITY.sub(_entity, value)
        if "\\" in value:
            value = _OCTAL.sub(_octal, _ESCAPE.sub(_escape, value))
        if value == before:
            break
    if "%" in value and _SCATTERED.search(value):
        value = _SCATTER.sub("", value)
    if "+A" in value:
        value = _UTF7.sub(lambda match: _UTF7_CHARS[match[1]], value)
    return value if value.isascii() else value.translate(_LOOK_ALIKE)


def folded(value: str) -> str:
    """`decoded`, in lower case, blanks folded, NUL and other control characters gone; line ends stay (as `\\n`)."""
    if _STRAIGHT.match(value):
        return _BLANKS.sub(" ", value.lower()) if "  " in value else value.lower()
    text = decoded(value).lower()
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _BLANKS.sub(" ", _CONTROL.sub("", text))


_SQL_HINTED = re.compile(r"/\*!\d{0,6}|\*/")
_SQL_COMMENT = re.compile(r"/\*(?!!)(?:[^*]|\*(?!/)){0,200}\*/")
#: To the end of the line: with another line behind it, MySQL goes on there.
_SQL_LINE = re.compile(r"(?:#|--)[^\n]{0,200}\n")


def sql_view(text: str) -> str:
    """Comments that MySQL skips or runs become blanks: `un/**/ion`, `/*!50000select*/`."""
    if "\n" in text and ("#" in text or "--" in text):
        text = _SQL_LINE.sub(" ", text)
    if "/*" not in text:
        return text
    return _SQL_HINTED.sub(" ", _SQL_COMMENT.sub(" ", text))


_SHELL_NOISE = re.compile(
    r"\$\{?ifs\}?(?:\$\d|%\?\?)?|\{ifs\}|\$[@*](?=\w)|\$\{[@*!]?\}|\$\(\)|``|''|\"\"|\\{1,4}(?=[a-z0-9/\n])\n?|\^(?=[a-z0-9])|(?<=[a-z])\$[a-z]{1,3}(?=[\s+/]|\Z)"
)


def _shell_noise(match: re.Match[str]) -> str:
    return " " if "ifs" in match[0] else ""


_QUOTED_LETTERS = re.compile(
    r"(?<=[a-z0-9/])['\"](?=[a-z0-9/])|(?<=[\s;|&(`])['\"](?=[a-z/])|(?<=[a-z])['\"](?=[\s;|&])"
)


#: A line end that ends somebody else's command is followed by a line or two; more lines are a text.
_FEW_LINES = 3


#: Separators with a form's blanks between them, before a command.
_LEADING_PLUS = re.compile(r"\A[|&;+\s]{1,16}")


def _unplussed(match: re.Match[str]) -> str:
    return match[0].replace("+", " ")


def shell_view(text: str) -> str:
    """As a shell reads it: `c''at`, `c\\at`, `c^md`, `cat$IFS/etc`, `wh$@oami`, `{cat,/etc/passwd}`."""
    if text.count("\n") > _FEW_LINES:
        text = text.replace("\n", " ")
    if "+" in text:
        text = _LEADING_PLUS.sub(_unplussed, text) if " " in text else text.replace("+", " ")
    return _QUOTED_LETTERS.sub("", _SHELL_NOISE.sub(_shell_noise, text))


_SLASHES = re.compile(r"/(?:\.?/){1,64}")


def path_view(text: str) -> str:
    """One kind of slash, no empty or `.` parts; `..` stays, for that is what is looked for."""
    return _SLASHES.sub("/", text.replace("\\", "/")) if "\\" in text or "//" in text or "/./" in text else text


_BASE64 = re.compile(r"(?:data:[\w/.+\-]{1,64};base64,)?([A-Za-z0-9+/_\-]{11,8192}={0,2})\Z")
_PRINTABLE = re.compile(rb"[\x00\t\n\r\x20-\x7e]*\Z")


def base64_decoded(value: str) -> str:
    """What a value that looks like base64 hides, if that is plain text; else nothing."""
    match = _BASE64.match(value)
    if not match or len(match[1].rstrip("=")) % 4 == 1:
        return ""
    body = match[1].rstrip("=")
    try:
        data = b64decode(body.replace("-", "+").replace("_", "/") + "=" * (-len(body) % 4))
    except Base64Error:
        return ""
    return data.decode("ascii") if _PRINTABLE.match(data) else ""
