"""Translations: the template is what the pages say, and every language has all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import pot
from lab.pofile import Message, PoError, parse, render

AGAIN = "make generate"


def test_the_template_is_what_the_pages_say() -> None:
    assert pot.TEMPLATE.read_text() == pot.template(pot.collect()), AGAIN


@pytest.mark.parametrize("language", pot.PLURALS)
def test_every_text_is_translated(language: str) -> None:
    text = (pot.APP / "po" / language / "dpi-dual.po").read_text()
    assert text == pot.merged(text, language, pot.collect()), AGAIN
    assert pot.faults(parse(text)[1]) == []


def test_texts_of_a_script() -> None:
    script = r"""
        // _('not this'), nor
        /* _('that') */
        const a = _('it\'s “so”'), b = _("two \"words\"", 'context');
        N_(count(a, [ 1, 2 ]), '%d row', '%d rows'); o.N_('x'); my_('y'); '// ' + _(`plain`);
    """
    assert list(pot.texts_of_script(script)) == [
        ("", "it's “so”", ""),
        ("context", 'two "words"', ""),
        ("", "%d row", "%d rows"),
        ("", "plain", ""),
    ]


@pytest.mark.parametrize("script", ["_(name)", "_('a' + b)", "_(`a${b}`)", "N_(n, one, 'many')", "_()"])
def test_what_is_put_together_at_run_time_is_refused(script: str) -> None:
    with pytest.raises(pot.NotLiteralError):
        list(pot.texts_of_script(script))


@pytest.mark.parametrize(
    ("one", "text", "fault"),
    [
        ("%d of %s", "%s von %d", "fills in"),
        ("%d%% of it", "%d %% davon", ""),
        ("100 %", "100 %", ""),
        ("Done.", "Fertig", "ends otherwise"),
        ("Really?", "Vraiment\u00a0?", ""),
        ("Done", "", "not translated"),
        (" and so on", " und so weiter", "without blanks"),
        ("two  blanks", "zwei Leerzeichen", "without blanks"),
    ],
)
def test_faults_of_a_translation(one: str, text: str, fault: str) -> None:
    found = pot.faults([Message("", one, texts=(text,))])
    assert [fault in line for line in found] == ([True] if fault else [])


def test_a_translation_goes_with_its_text() -> None:
    old = pot.merged("", "de", [Message("", "Open"), Message("", "Gone"), Message("", "%d row", "%d rows", ("", ""))])
    done = old.replace('msgid "Open"\nmsgstr ""', 'msgid "Open"\nmsgstr "Offen"')
    new = pot.merged(done, "de", [Message("", "Open"), Message("ctx", "Open"), Message("", 'New\n"x"')])
    kept = {message.key: message.texts for message in parse(new)[1]}
    assert kept == {("", "Open", ""): ("Offen",), ("ctx", "Open", ""): ("",), ("", 'New\n"x"', ""): ("",)}
    assert parse(new)[0].startswith("Content-Type: text/plain; charset=UTF-8\nLanguage: de\n")


def test_fuzzy_obsolete_and_wrapped_entries() -> None:
    text = '#, fuzzy\nmsgid ""\n"a "\n"b"\nmsgstr "c"\n\n#~ msgid "gone"\n#~ msgstr "x"\n'
    (message,) = parse('msgid ""\nmsgstr ""\n\n' + text)[1]
    assert (message.one, message.texts, message.fuzzy) == ("a b", ("c",), True)
    assert pot.faults([message]) == ["not translated: 'a b'"]
    with pytest.raises(PoError):
        parse("msgid nothing\n")
    assert parse(render({}, [message]))[1] == [message]


def test_files_are_where_luci_looks() -> None:
    languages = {path.parent.name for path in Path(pot.APP / "po").glob("*/dpi-dual.po")}
    assert languages == set(pot.PLURALS)
