"""The rendered configuration: HAProxy accepts it, and nothing from UCI can change what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpi_dual import config
from dpi_dual.mitm.haproxy import MARKER, HaproxyError, Host, endpoint, names, quoted, render
from dpi_dual.settings import Backend, Settings
from lab.certs import make_certificates

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/bin")
HOST = Host("nobody", "nogroup")
WEB = Backend("web", "", "www.example.org", "192.0.2.1:80")


def settings(*backends: Backend, **options: object) -> Settings:
    """Valid ones; an option's section stands before a double underscore."""
    plain = config.defaults()
    haproxy = {"certificate": "/etc/ssl/site.pem", "enabled": True}
    mitm = {}
    for name, value in options.items():
        section, _, option = name.partition("__")
        (haproxy if section == "haproxy" else mitm)[option] = value
    return replace(
        plain,
        haproxy=replace(plain.haproxy, **haproxy),
        mitm=replace(plain.mitm, **mitm),
        backend=backends or (WEB,),
    )


def lines(text: str, first: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip().startswith(first)]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificate")
    make_certificates(folder, ["www.example.org"])
    pem = folder / """it's a "certificate" #1 $HOME \\n.pem"""
    pem.write_bytes((folder / "www.example.org.crt").read_bytes() + (folder / "site.key").read_bytes())
    return pem


MANY = tuple(Backend(f"b{n}", f"service-{n}", f"s{n}.example.org", f"192.0.2.{n}:80") for n in range(1, 201))
ODD = tuple(
    Backend("", name, f"s{n}.example.org", "192.0.2.1:80")
    for n, name in enumerate(["a b", "#", "$HOME", "%[src]", "a|b", "!", "dpi-dual-https", "~", "a b", "é" * 100])
)


@pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")
@pytest.mark.parametrize(
    "wanted",
    [
        settings(),
        settings(haproxy__fail_open=False),
        settings(haproxy__bind="[2001:db8::1]:8443", mitm__listen="[::1]:8088"),
        settings(haproxy__bind="192.0.2.7:443", mitm__listen=":8088"),
        settings(haproxy__bind="localhost:443", mitm__listen="[::]:8088"),
        settings(Backend("v6", "", "2001:db8::9", "https://[2001:db8::2]:443")),
        settings(Backend("all", "", "*.example.org", "https://192.0.2.1:443"), WEB),
        settings(Backend("byname", "", "_a.example.org.", "localhost:80")),
        settings(*MANY),
        settings(*ODD),
    ],
    ids=["plain", "closed", "ipv6", "any", "names", "ipv6-origin", "wildcard", "odd-host", "many", "odd-names"],
)
def test_haproxy_accepts(wanted: Settings, certificate: Path, tmp_path: Path) -> None:
    wanted = replace(wanted, haproxy=replace(wanted.haproxy, certificate=str(certificate)))
    file = tmp_path / "haproxy.cfg"
    file.write_text(render(wanted, HOST))
    done = subprocess.run([str(HAPROXY), "-c", "-f", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # Without a word against it, too.
    assert "[WARNING]" not in done.stderr


def test_the_first_line_says_whose_it_is() -> None:
    assert render(settings(), HOST).startswith(MARKER + "\n")


def test_one_check_for_all_services() -> None:
    text = render(settings(*MANY), HOST)
    assert len(lines(text, "server mitm")) == 1
    assert len(lines(text, "server origin")) == 200


def test_fail_closed_knows_no_way_past_mitmproxy() -> None:
    text = render(settings(haproxy__fail_open=False), HOST)
    assert "192.0.2.1" not in text
    assert "backup" not in text
    assert "bypass" not in text


def test_nothing_listens_on_tcp_but_the_frontend() -> None:
    text = render(settings(), HOST)
    assert [line.split()[1] for line in lines(text, "bind")] == [
        "ipv4@:443",
        "ipv6@:::443",
        "'unix@/var/run/dpi-dual-inspect.sock'",
        "'unix@/var/run/dpi-dual-bypass.sock'",
    ]
    assert [line.split()[2] for line in lines(text, "stats socket")] == ["'unix@/var/run/dpi-dual-haproxy.sock'"]
    assert "mode 600 level user" in text


def test_without_ipv6_haproxy_is_not_told_to_listen_there() -> None:
    text = render(settings(), replace(HOST, ipv6=False))
    assert [line.split()[1] for line in lines(text, "bind ip")] == ["ipv4@:443"]


@pytest.mark.parametrize(
    ("listen", "reached"),
    [
        (":8088", "ipv4@127.0.0.1:8088"),
        ("0.0.0.0:8088", "ipv4@127.0.0.1:8088"),
        ("[::]:8088", "ipv6@::1:8088"),
        ("10.0.3.2:8080", "ipv4@10.0.3.2:8080"),
        ("mitm.lan:8080", "mitm.lan:8080"),
    ],
)
def test_where_mitmproxy_is_reached(listen: str, reached: str) -> None:
    assert lines(render(settings(mitm__listen=listen), HOST), "server mitm")[0].split()[2] == reached


def test_exact_hosts_come_before_wildcards_and_long_ones_before_short() -> None:
    hosts = ["*.org", "*.example.org", "a.example.org"]
    text = render(settings(*(Backend(f"s{n}", "", host, "192.0.2.1:80") for n, host in enumerate(hosts))), HOST)
    chosen = [line.split()[1] for line in lines(text, "use_backend s")]
    assert chosen == ["s2", "s1", "s0"]


def test_names_are_haproxys_and_each_its_own() -> None:
    found = names(ODD)
    assert len(set(found)) == len(found)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name) for name in found)
    assert "dpi-dual-https" not in found


HOSTILE_ADDRESSES = [
    "",
    "x",
    ":",
    "192.0.2.1",
    "192.0.2.1:0",
    "192.0.2.1:65536",
    "192.0.2.1:80 backup",
    "192.0.2.1:80\n    server evil 203.0.113.1:80",
    "192.0.2.1:80\r",
    "192.0.2.1:80#",
    "a b:80",
    "$HOME:80",
    '"${HOME}":80',
    "'x':80",
    "unix@/tmp/x:80",
    "fd@3:80",
    "/tmp/x:80",
    "[fe80::1%br-lan]:80",
    "[fe80::1% x\n]:80",
    "::1:80",
    "[192.0.2.1]:80",
    "192.0.2.1:80:90",
    "192.0.2.999:80",
    "*.example.org:80",
    "exämple.org:80",
    "x" * 300 + ":80",
    "192.0.2.1:٨٠",
]


@pytest.mark.parametrize("text", HOSTILE_ADDRESSES)
def test_hostile_addresses_are_refused_by_name(text: str) -> None:
    with pytest.raises(HaproxyError, match=r"^dpi-dual\.haproxy\.bind: ") as bind:
        render(settings(haproxy__bind=text), HOST)
    assert "\n" not in str(bind.value)
    with pytest.raises(HaproxyError, match=r"^dpi-dual\.mitm\.listen: "):
        render(settings(mitm__listen=text), HOST)
    with pytest.raises(HaproxyError, match=r"^dpi-dual\.@backend\[1\]\.address: "):
        render(settings(WEB, Backend("", "", "b.example.org", text)), HOST)


@pytest.mark.parametrize("address", [":80", "ftp://192.0.2.1:80", "https://https://192.0.2.1:80", "http://u@h:80"])
def test_origins_that_are_none(address: str) -> None:
    with pytest.raises(HaproxyError, match=r"^dpi-dual\.web\.address: "):
        render(settings(replace(WEB, address=address)), HOST)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "*",
        "*.",
        "a b",
        "a\nb",
        "a'b",
        'a"b',
        "a#b",
        "a}b",
        "$x",
        "a.*.b",
        "**.a",
        "fe80::1%x}",
        "*::1",
        "exämple.org",
    ],
)
def test_hostile_hosts_are_refused_by_name(host: str) -> None:
    with pytest.raises(HaproxyError, match=r"^dpi-dual\.web\.host: ") as refused:
        render(settings(replace(WEB, host=host)), HOST)
    assert str(refused.value).isprintable()


def test_two_services_cannot_have_one_host() -> None:
    with pytest.raises(HaproxyError, match=r"@backend\[1\]\.host: 'www\.example\.org' is the host of web already"):
        render(settings(WEB, Backend("", "", "WWW.example.org.", "192.0.2.2:80")), HOST)


@pytest.mark.parametrize("path", ["/a\nb", "/a\x00b", "/a\x7f", "/\udcff"])
def test_hostile_certificate_paths_are_refused_by_name(path: str) -> None:
    with pytest.raises(HaproxyError, match=r"^dpi-dual\.haproxy\.certificate: "):
        render(settings(haproxy__certificate=path), HOST)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(HaproxyError, match=r"^dpi-dual\.backend: no section"):
        render(replace(settings(), backend=()), HOST)
    with pytest.raises(HaproxyError, match=r"^dpi-dual\.haproxy\.certificate: empty"):
        render(settings(haproxy__certificate=""), HOST)


@given(st.text())
def test_a_quoted_text_is_one_word(text: str) -> None:
    try:
        word = quoted(text, "x")
    except HaproxyError:
        return
    # Strong quotes end at the next quote, whatever is inside; outside of them stand only escaped quotes.
    assert re.fullmatch(r"'[^']*'(?:\\''[^']*')*", word)
    assert "\n" not in word
    assert word[1:-1].replace("'\\''", "'") == text


@given(st.text(max_size=60))
def test_an_endpoint_is_harmless_or_refused(text: str) -> None:
    try:
        where = endpoint(text, "x").text()
    except HaproxyError:
        return
    assert re.fullmatch(r"(?:ipv[46]@)?[A-Za-z0-9_.:-]*:[0-9]+", where)


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_every_line_is_one_that_we_wrote(name: str, host: str, section: str) -> None:
    try:
        text = render(settings(Backend(section, name, host, "192.0.2.1:80")), HOST)
    except HaproxyError:
        return
    assert len(text.splitlines()) == len(render(settings(), HOST).splitlines())
    assert text.isascii()
