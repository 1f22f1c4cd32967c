"""The text of UCI files: libuci's grammar, damage, and edits that leave the rest alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uciparse.uci import UciFile

from dpi_dual.ucifile import Damage, Document, Value, anonymous_name

FILE = """\
# the owner's words
package whatever

config interface 'loopback'
\toption device 'lo'\t# not the LAN
\tlist dns '192.0.2.1'
\tlist dns "192.0.2.2"

config host
\toption name "it's mine"
config host
\toption name nas
"""


@pytest.mark.parametrize(
    ("section_type", "position", "name"),
    # as `uci show -X` prints them
    [("dnsmasq", 1, "cfg01411c"), ("defaults", 1, "cfg01e63d"), ("wifi-device", 3, "cfg039e91")],
)
def test_names_anonymous_sections_as_libuci_does(section_type: str, position: int, name: str) -> None:
    assert anonymous_name(section_type, position) == name


@pytest.mark.parametrize(
    ("line", "value"),
    # each checked against libuci itself
    [
        ("option x plain", "plain"),
        ("option x 'two words'", "two words"),
        ('option x "it\'s"', "it's"),
        ("option x 'it'\\''s'", "it's"),
        ('option x "a \\"b\\" \\\\"', 'a "b" \\'),
        ("option x 'a\\b'", "a\\b"),
        ("option x a\\ b", "a b"),
        ("option x one'two'\"three\"", "onetwothree"),
        ("option x '#1' # comment", "#1"),
        ("option x val#comment", "val"),
        ("o x abbreviated", "abbreviated"),
        ("option x 'two\nlines'", "two\nlines"),
        ("option x one\\\ntwo", "onetwo"),
        ("option 'x' \t windows\r", "windows"),
        ("option x 1\n\toption x 2", "2"),
        ("list x 1\n\tlist x 2", ("1", "2")),
        ("option x 1\n\tlist x 2", ("1", "2")),
        ("list x 1\n\toption x 2", "2"),
        ("option x 1\n\toption x ''", "1"),
        ("option x 'ünïcödé'", "ünïcödé"),
    ],
)
def test_reads_what_libuci_reads(line: str, value: Value) -> None:
    document = Document(f"config a 'b'\n\t{line}\n")
    assert document.damage == []
    assert document.sections()[0].options == {"x": value}


def test_a_section_opened_again_goes_on_where_it_was() -> None:
    (section,) = Document("config a 'b'\noption x 1\nconfig a 'b'\noption y 2\noption x 3\n").sections()
    assert section.options == {"y": "2", "x": "3"}
    assert section.lines == (1, 3)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("option x 'abc", "a quote is not closed on this line"),
        ('option x "abc', "a quote is not closed on this line"),
        ("option x a b", "too many words after option (a value with spaces needs quotes)"),
        ("option x", "option x has no value"),
        ("option", "option has no name"),
        ("option x-y 1", "'x-y' cannot be a name after option"),
        ("option x \0", "binary data"),
    ],
)
def test_a_bad_line_is_named_and_the_rest_is_read(line: str, reason: str) -> None:
    document = Document(f"config a 'b'\n\toption before 1\n\t{line}\n\toption after 2\n")
    assert document.damage == [Damage(3, reason)]
    assert document.sections()[0].options == {"before": "1", "after": "2"}


@pytest.mark.parametrize("header", ["config tap 'ta", "config ta\0p 'tap'", "configtap", "\x7fELF", "config tap 'a b'"])
def test_options_after_a_lost_header_do_not_fall_to_the_section_before(header: str) -> None:
    document = Document(f"config mitm 'mitm'\n\toption x 1\n{header}\n\toption x 2\n\nconfig a 'b'\noption y 1\n")
    assert document.sections()[0].options == {"x": "1"}
    assert document.sections()[1].options == {"y": "1"}
    assert document.stray() == [Damage(4, "option x belongs to no section")]


def test_a_name_used_for_another_type_is_named() -> None:
    document = Document("config a 'n'\noption x 1\nconfig b 'n'\noption x 2\n")
    assert [s.options for s in document.sections()] == [{"x": "1"}]
    assert [d.reason for d in document.stray()] == [
        "'n' is already a section of another type",
        "option x belongs to no section",
    ]


@given(st.text())
def test_any_text_is_read_and_kept(content: str) -> None:
    document = Document(content)
    assert document.text == content
    document.sections()
    document.stray()


@given(st.binary())
def test_any_bytes_survive(data: bytes) -> None:
    content = data.decode("utf-8", "surrogateescape")
    assert Document(content).text.encode("utf-8", "surrogateescape") == data


words = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30)


@given(words)
def test_whatever_is_written_is_read_back(value: str) -> None:
    document = Document(FILE)
    document.set("loopback", "note", value)
    document.set("loopback", "notes", [value, "second"])
    again = Document(document.text)
    assert again.damage == []
    section = again.section("loopback")
    assert section is not None
    assert (section.options["note"], section.options["notes"]) == (value, (value, "second"))


@given(words.filter(lambda w: not set(w) & set("'\"\\")))
def test_simpler_parsers_read_it_too(value: str) -> None:
    document = Document("config a 'b'\n")
    document.set("b", "x", value)
    assert UciFile.from_lines(document.text.split("\n")[:-1]).lines[-1].value == value


def test_the_comment_before_the_next_section_outlives_a_deleted_one() -> None:
    document = Document("config a 'a'\n\t# inside\n\toption x 1\n\n# about b\nconfig b 'b'\n")
    document.delete_section("a")
    assert document.text == "\n# about b\nconfig b 'b'\n"


def test_two_commands_on_a_line_are_kept_apart() -> None:
    document = Document("config a 'a'; option x 1; option y 2 # both\n")
    document.set("a", "x", "3")
    assert document.text == "config a 'a' # both\noption x '3'\noption y '2'\n"


def test_a_file_without_a_last_line_end_is_written_right() -> None:
    document = Document("config a 'a'")
    document.set("a", "x", "1")
    document.add_section("b")
    assert document.text == "config a 'a'\n\toption x '1'\n\nconfig b\n"


def test_a_damaged_line_stays_when_another_is_changed() -> None:
    document = Document("config a 'a'\n\toption x 'half\n\toption y 1\n")
    document.set("a", "y", "2")
    assert document.text == "config a 'a'\n\toption x 'half\n\toption y '2'\n"
