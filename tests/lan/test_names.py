"""Names from leases and static entries; hostile files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpi_dual import uci
from dpi_dual.lan.names import (
    MAX_NAME,
    Lease,
    NameBook,
    clean_ip,
    clean_mac,
    clean_name,
    parse_dnsmasq,
    parse_ethers,
    parse_odhcpd,
    static_names,
)

DNSMASQ = """\
1795365600 02:00:5e:00:01:64 192.168.1.100 lab-laptop 01:02:00:5e:00:01:64
1795365601 3c:22:fb:00:00:01 192.168.1.101 * *
0 b8:27:eb:00:00:02 192.168.1.102 printer *
1795365602 06-00:11:22:33:44:55 192.168.1.103 token-ring *
duid 00:01:00:01:2b:aa:bb:cc:02:00:5e:00:01:01
1795365603 14942309 fd00::1f4 lab-laptop 00:01:00:01:2b:11:22:33:02:00:5e:00:01:64
1795365604 T14942310 fd00::1f5 tv 00:03:00:01:02:00:5e:00:01:65
"""

ODHCPD = """\
# br-lan 000100012baabbcc02005e000164 5e000164 lab-laptop 1795365600 1f4 128 fd00::1f4/128 2001:db8:1::1f4/128
fd00::1f4\tlab-laptop.lan\tlab-laptop
# br-lan 02005e000165 ipv4 tv 1795365600 c0a80165 32 192.168.1.101/32
192.168.1.101\ttv.lan\ttv
# br-lan 02005e000166 ipv4 - 1795365600 c0a80166 32 192.168.1.102/32
# br-lan 02005e000167 ipv4 broken\\x20my phone 1795365600 c0a80167 32 192.168.1.103/32
# br-lan 02005e000168 ipv4 living\\x20room -1 c0a80168 32 192.168.1.104/32
"""


def test_dnsmasq() -> None:
    assert list(parse_dnsmasq(DNSMASQ)) == [
        Lease("lab-laptop", "02:00:5e:00:01:64", "192.168.1.100"),
        Lease("printer", "b8:27:eb:00:00:02", "192.168.1.102"),
        Lease("token-ring", "", "192.168.1.103"),
        Lease("lab-laptop", "", "fd00::1f4"),
        Lease("tv", "", "fd00::1f5"),
    ]


def test_odhcpd() -> None:
    assert list(parse_odhcpd(ODHCPD)) == [
        Lease("lab-laptop", "", "fd00::1f4"),
        Lease("lab-laptop", "", "2001:db8:1::1f4"),
        Lease("tv", "02:00:5e:00:01:65"),
        Lease("tv", "02:00:5e:00:01:65", "192.168.1.101"),
        Lease("living room", "02:00:5e:00:01:68"),
        Lease("living room", "02:00:5e:00:01:68", "192.168.1.104"),
    ]


def test_ethers() -> None:
    text = "# comment\n02:00:5E:00:01:64 desk # the one below\n02:00:5e:00:01:65 192.168.1.5\nnonsense\n"
    assert list(parse_ethers(text)) == [Lease("desk", "02:00:5e:00:01:64")]


def test_static_names_of_uci() -> None:
    document = uci.Document(
        "config host\n option name 'NAS'\n option mac '02:00:5e:00:01:70 02:00:5e:00:01:71'\n option ip '192.168.1.7'\n"
        "config host\n option name 'two'\n list mac '02:00:5E:00:01:72'\n list mac 'aa:*:*:*:*:*'\n"
        "config domain\n option name 'box.lan'\n option ip 'fd00::7'\n"
        "config host\n option mac '02:00:5e:00:01:73'\n"
    )
    assert list(static_names(document.sections())) == [
        Lease("NAS", "", "192.168.1.7"),
        Lease("NAS", "02:00:5e:00:01:70", "192.168.1.7"),
        Lease("NAS", "02:00:5e:00:01:71", "192.168.1.7"),
        Lease("two", "02:00:5e:00:01:72"),
        Lease("box.lan", "", "fd00::7"),
    ]


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("kitchen-tv", "kitchen-tv"),
        ("a\x00b\x1b[31mred\n", "a b [31mred"),
        ("\u202eevil\u2066", "evil"),
        ("  two   words ", "two words"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("Küche", "Küche"),
        ("x" * 500, "x" * MAX_NAME),
        ("\ud800", ""),
    ],
)
def test_clean_name(raw: str, clean: str) -> None:
    assert clean_name(raw) == clean


def test_clean_addresses() -> None:
    assert clean_mac(" 02-00-5E-00-01-64 ") == "02:00:5e:00:01:64"
    assert clean_mac("2:0:5e:0:1:64") == "" and clean_mac("") == ""
    assert clean_ip("FD00:0::1/128") == "fd00::1" and clean_ip("192.168.1.300") == ""


@given(st.binary(max_size=2000))
def test_any_bytes_are_survived(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for parse in (parse_dnsmasq, parse_odhcpd, parse_ethers):
        for lease in parse(text):
            assert lease.name and lease.name.isprintable() and len(lease.name) <= MAX_NAME
            assert lease.mac or lease.ip


@given(st.lists(st.text(max_size=20), max_size=12))
def test_any_words_in_a_lease_are_survived(words: list[str]) -> None:
    line = " ".join(["1795365600", *words])
    for lease in parse_dnsmasq(f"{line}\nduid x\n{line}"):
        assert lease.name == clean_name(lease.name)
    for lease in parse_odhcpd("# " + " ".join(words)):
        assert lease.name == clean_name(lease.name)


def write(path: Path, text: str) -> None:
    """Replaces a file with a new time stamp, as dnsmasq does."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, path)


@pytest.fixture
def book(tmp_path: Path) -> NameBook:
    (tmp_path / "dhcp").write_text(
        f"config dnsmasq\n option leasefile '{tmp_path}/dhcp.leases'\n"
        f"config odhcpd 'odhcpd'\n option leasefile '{tmp_path}/odhcpd'\n"
        "config host\n option name 'desk'\n option mac '02:00:5e:00:01:64'\n"
    )
    (tmp_path / "dhcp.leases").write_text(DNSMASQ)
    return NameBook(str(tmp_path), str(tmp_path / "ethers"))


def test_the_owners_name_wins_over_the_lease(book: NameBook) -> None:
    assert book.refresh()
    assert book.name("02:00:5e:00:01:64", ["192.168.1.100"]) == "desk"
    assert book.name("b8:27:eb:00:00:02", []) == "printer"
    assert book.name("", ["fd00::1f5"]) == "tv"
    assert book.name("3c:22:fb:00:00:01", ["192.168.1.101"]) == ""


def test_files_are_read_again_only_when_they_changed(book: NameBook, tmp_path: Path) -> None:
    assert book.refresh() and not book.refresh()
    write(tmp_path / "dhcp.leases", "1795365600 02:00:5e:00:01:99 192.168.1.199 newcomer *\n")
    assert book.refresh() and not book.refresh()
    assert book.name("02:00:5e:00:01:99", []) == "newcomer"
    assert book.name("b8:27:eb:00:00:02", []) == ""
    write(tmp_path / "odhcpd", ODHCPD)
    assert book.refresh()
    assert book.name("02:00:5e:00:01:65", []) == "tv"
    write(tmp_path / "dhcp", "config host\n option name 'late'\n option mac '02:00:5e:00:01:65'\n"
          f"config dnsmasq\n option leasefile '{tmp_path}/dhcp.leases'\n"
          f"config odhcpd 'odhcpd'\n option leasefile '{tmp_path}/odhcpd'\n")  # fmt: skip
    assert book.refresh()
    assert book.name("02:00:5e:00:01:65", []) == "late"
    assert book.name("02:00:5e:00:01:64", []) == ""


def test_no_files_at_all(tmp_path: Path) -> None:
    (tmp_path / "dhcp").write_text(f"config dnsmasq\n option leasefile '{tmp_path}/none'\n")
    book = NameBook(str(tmp_path), str(tmp_path / "none"))
    book.refresh()
    assert book.name("02:00:5e:00:01:64", ["192.168.1.100"]) == "" and book.problems() == []


def test_a_lease_file_that_is_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "dhcp").write_text(f"config dnsmasq\n option leasefile '{tmp_path}'\n")
    book = NameBook(str(tmp_path), str(tmp_path / "none"))
    book.refresh()
    assert [problem.code for problem in book.problems()] == ["lan_names_unreadable"]
    assert str(tmp_path) in book.problems()[0].message
