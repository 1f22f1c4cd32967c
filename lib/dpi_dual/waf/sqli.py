"""SQL as a database would see it: a value's tokens as one letter each, so that rules can speak of grammar.

A rule over letters knows `' or 1=1` from `cats or dogs` where one over characters cannot. Letters:

    1 number, true, null   s string   n name       v @variable    w English word that is no SQL
    f function(            X function( that waits, reads files or leaks by errors
    U union  S select  F from  W where  H having  O like, in, between …   = comparison   & logic   ! not   a arithmetic
    r order, group   y by   L limit   I into   P procedure   T statement verb   C case   E exists   k other keyword
    ( ) , ; .   c comment start   Q the quote that ends the string the value was put into
"""

from __future__ import annotations

import re

from dpi_dual.waf.normalise import sql_view

MAX_TEXT = 16_384
MAX_TOKENS = 1_500
#: A quote that ends somebody else's string comes early; one behind so much text is that text's own.
MAX_BEFORE = 80

_KEYWORDS = {
    "U": "union intersect except minus",
    "S": "select",
    "F": "from",
    "W": "where",
    "H": "having",
    "O": "like rlike regexp glob between in is similar ilike sounds",
    "&": "and or xor",
    "!": "not",
    "a": "div mod",
    "1": "true false null",
    "r": "order group",
    "y": "by",
    "L": "limit",
    "I": "into",
    "P": "procedure",
    "T": "insert update delete drop create alter truncate exec execute declare shutdown waitfor merge handler call",
    "C": "case",
    "E": "exists",
    "k": "all distinct distinctrow as when then else end offset outfile dumpfile join on values table set top delay "
    "cast asc desc collate binary any some",
    "v": "current_user session_user system_user current_database current_schema sysdate systimestamp rownum "
    "current_date current_time current_timestamp localtime localtimestamp utc_date utc_time utc_timestamp",
    "w": "a an the to of for with at your you my we our us it its this that these those be are was were will can i he "
    "she they them his her their about how what which who why best new more most other each every here there but so "
    "also please have has had do does did if would should could me no yes your",
}
_WORDS = {word: letter for letter, words in _KEYWORDS.items() for word in words.split()}

_FUNCTIONS_TEXT = """
ascii substr substring mid length char chr nchar concat concat_ws group_concat version database user
current_user system_user session_user count cast convert ifnull nullif iif if elt make_set hex unhex ord lower
upper lcase ucase left right md5 sha1 sha2 rand floor now sysdate schema exp json_keys json_extract
gtid_subset gtid_subtract bin coalesce greatest least instr locate position isnull char_length bit_length
octet_length row_count found_rows st_latfromgeohash polygon multipoint name_const last_insert_id
current_database db_name user_name host_name object_id quote_literal string_agg array_agg array_to_string
xmltype bitand ctxsys rawtohex to_char decode listagg sqlite_version quote hextoraw wm_concat reverse replace
space repeat lpad rpad ltrim rtrim trim strcmp field find_in_set conv format soundex sum avg min max unicode
abs acos asin atan cos cot sin tan pi log10 ln sqrt pow power sign radians degrees crc32 bit_count
coercibility collation charset curdate curtime dayname
stuff suser_name is_srvrolemember is_member has_dbaccess patindex
"""
_FUNCTIONS = frozenset(_FUNCTIONS_TEXT.split())
_DANGEROUS_TEXT = """
sleep benchmark pg_sleep extractvalue updatexml load_file load_extension xp_cmdshell xp_dirtree xp_regread
xp_fileexist sp_executesql sp_oacreate openrowset opendatasource openquery randomblob generate_series
lo_import lo_export pg_read_file pg_ls_dir pg_cancel_backend dblink dblink_connect receive_message
get_host_address get_host_name query_to_xml database_to_xml fn_xe_file_target_read_file sys_eval sys_exec
httpuritype drithsx readfile writefile is_free_lock get_lock master_pos_wait ordsys
"""
_DANGEROUS = frozenset(_DANGEROUS_TEXT.split())
_PREFIXED = ("dbms_", "utl_", "ctxsys", "xp_", "sp_", "ordsys", "owa_", "user_lock")

_TOKEN = re.compile(
    r"""(?P<space>\s++)
    |(?P<string>'(?:[^'\\]++|\\.|''|\\\Z)*+(?:'|\Z)|"(?:[^"\\]++|\\.|""|\\\Z)*+(?:"|\Z)|`[^`]*+(?:`|\Z))
    |(?P<comment>--(?=[\s\-+/'\"]|\Z)|\#(?=\s{0,8}(?:\Z|--|/|\#))|/\*|--(?=[a-z0-9]{1,64}\Z))
    |(?P<number>0x[0-9a-f]++|0b[01]++(?![a-z])|\d++(?:\.\d++)?+(?:e[+-]?\d++)?+|\.\d++)
    |(?P<variable>@@?[\w.$]*+)
    |(?P<word>[^\W\d][\w$\#]*+)
    |(?P<compare><=>|<>|!=|<=|>=|:=|==|[=>]|<(?!/))
    |(?P<logic>&&|\|\|)
    |(?P<math>[+\-*/%^|&~])
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_KINDS = {"string": "s", "comment": "c", "number": "1", "variable": "v", "compare": "=", "logic": "&", "math": "a"}
_GOES_ON = re.compile(r"[\s'’]{0,4}[^\W\d]|\Z|[.!?]")
#: `call me when you are here` is English.
_PROCEDURE = re.compile(r"\s{1,4}[\w.]{1,64}\s{0,4}\(")
_CALL = re.compile(r"\s{0,4}\(")


def _word(word: str, text: str, end: int, previous: str, letters: list[str]) -> str:
    """The letter of a word that ends at `end`, behind `letters`."""
    letter = _WORDS.get(word, "")
    if (word == "call" and not _PROCEDURE.match(text, end)) or (letter == "w" and not _GOES_ON.match(text, end)):
        # `a` before a word is English, `a` before `=` or `,` is a column.
        letter = ""
    if letter in ("", "k", "1", "O", "w") and _CALL.match(text, end):
        if word in _DANGEROUS or word.startswith(_PREFIXED):
            # `time.sleep(5)` is a program's, `dbms_pipe.receive_message(` the database's.
            return "n" if previous == "." and letters[-2:-1] == ["n"] and word == "sleep" else "X"
        if word in _FUNCTIONS:
            return "f"
        return "n" if letter in ("", "w") else letter
    if letter:
        return letter
    return "X" if word.startswith(("dbms_", "utl_", "xp_", "sp_", "user_lock")) else "n"


def _tokens(text: str, position: int) -> str:
    letters: list[str] = []
    previous = ""
    for match in _TOKEN.finditer(text, position):
        kind = match.lastgroup
        if kind == "space":
            continue
        if kind == "word":
            letter = _word(match[0], text, match.end(), previous, letters)
        elif kind == "other":
            character = match[0]
            letter = "!" if character == "!" else character if character in "(),;." else "o"
        else:
            letter = _KINDS[kind or ""]
        letters.append(letter)
        previous = letter
        if len(letters) >= MAX_TOKENS:
            break
    return "".join(letters)


#: `n.n` is one name; a sign before an operand is part of it.
_DOTTED = re.compile(r"n(?:\.[nkTa1]){1,4}")
_SIGNED = re.compile(r"(?<=[=&(,SkOW!Ia])a{1,8}(?=[1snvfX(])|^a{1,8}(?=1)")


def _simple(letters: str) -> str:
    if "." in letters:
        letters = _DOTTED.sub("n", letters)
    return _SIGNED.sub("", letters) if "a" in letters else letters


#: A phrase properly in quotes: blank before, blank or punctuation after, none just inside, and a letter or digit.
_PHRASES = tuple(
    (
        quote,
        re.compile(
            rf"(?:(?<=[\s(:=+\-,&|\[{{])|\A){quote}(?=[^{quote}]{{0,60}}\w)[^\s{quote}](?:[^{quote}]{{0,200}}[^\s{quote}])?{quote}(?=[\s),.;:!?&\]}}]|\Z)"
        ),
    )
    for quote in "'\"`"
)


#: What no text goes on with behind a closing quote, however late it comes: padding does not hide it.
_LATE = re.compile(r"['\"`][\s)]{0,6}(?:union\s|;\s?(?:drop|insert|update|delete|exec|waitfor|shutdown|declare)\s)")
_LATE_TEXT = 1_024


def views(text: str) -> tuple[str, ...]:
    """The letters of `text` (folded) as it stands, then as it reads behind each quote that would end a string."""
    late = _LATE.search(text, MAX_BEFORE) if len(text) > MAX_BEFORE else None
    rest = text[late.start() + 1 :][:_LATE_TEXT] if late else ""
    text = sql_view(text[:MAX_TEXT])
    if " " not in text and "+" in text:
        text = text.replace("+", " ")
    found = [_simple(_tokens(text, 0))]
    for quote, phrase in _PHRASES:
        start = text.find(quote)
        if 0 <= start <= MAX_BEFORE and quote in phrase.sub("", text):
            found.append("Q" + _simple(_tokens(text, start + 1)))
    if rest:
        found.append("Q" + _simple(_tokens(sql_view(rest), 0)))
    return tuple(found)


_HINT = re.compile(
    r"['\"`]|--|/\*|\|\||&&|\b(?:union|select|having|and|or|xor|order|group|limit|procedure|waitfor|insert|update|delete|drop|exec|"
    r"declare|like|rlike|between|case|div|into|create|alter|truncate|shutdown|sleep|benchmark|convert|cast|execute)\b|@@|\w\(|\bwhere\s[\d('\"]|\w\s\(\s?[\d(]|#\w{0,20}\n"
)


def worth_a_look(text: str) -> bool:
    """Whether `text` has anything without which no rule over letters can match."""
    return _HINT.search(text) is not None
