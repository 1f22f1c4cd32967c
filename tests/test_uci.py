"""UCI packages on disk: reading, locked and atomic writing, and what procd is told."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from dpi_dual import uci
from dpi_dual.ucifile import quote

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


@pytest.fixture
def config_dir(tmp_path: Path) -> str:
    (tmp_path / "demo").write_text(FILE)
    (tmp_path / "demo").chmod(0o600)
    return str(tmp_path)


def text(config_dir: str) -> str:
    return Path(config_dir, "demo").read_text()


def test_reads_named_and_anonymous_sections_in_their_order(config_dir: str) -> None:
    loopback, first, second = uci.read("demo", config_dir)
    assert (loopback.type, loopback.name, loopback.anonymous) == ("interface", "loopback", False)
    assert loopback.options == {"device": "lo", "dns": ("192.0.2.1", "192.0.2.2")}
    assert (first.label, second.label) == ("@host[0]", "@host[1]")
    assert first.options == {"name": "it's mine"}
    assert second.name.startswith("cfg03")


def test_a_package_that_is_not_there_has_no_sections(tmp_path: Path) -> None:
    assert uci.read("dhcp", str(tmp_path)) == []


@pytest.mark.parametrize("name", ["", "..", "../passwd", "a/b", "a.b", "a\n"])
def test_a_package_name_cannot_lead_elsewhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(uci.UciError):
        uci.read(name, str(tmp_path))


@pytest.mark.parametrize("value", ["a\nb", "a\0", "\r", "\x1b[0m"])
def test_control_characters_are_refused_and_nothing_changes(config_dir: str, value: str) -> None:
    with pytest.raises(uci.UciError, match="control characters"):
        uci.set_options("demo", "loopback", {"fine": "1", "x": value}, config_dir)
    assert text(config_dir) == FILE
    with pytest.raises(uci.UciError):
        quote(value)


def test_one_option_changes_and_every_other_byte_stays(config_dir: str) -> None:
    uci.set_options("demo", "loopback", {"device": "lo0"}, config_dir)
    assert text(config_dir) == FILE.replace("'lo'\t#", "'lo0' #")
    uci.set_options("demo", "@host[1]", {"name": None}, config_dir)
    assert text(config_dir).endswith("config host\n")


def test_new_options_go_to_the_end_of_their_section(config_dir: str) -> None:
    uci.set_options("demo", "loopback", {"proto": "static", "addr": ["a", "b"]}, config_dir)
    new = "\toption proto 'static'\n\tlist addr 'a'\n\tlist addr 'b'\n"
    assert text(config_dir) == FILE.replace('"192.0.2.2"\n', '"192.0.2.2"\n' + new)


def test_a_list_is_replaced_where_it_stood(config_dir: str) -> None:
    uci.set_options("demo", "loopback", {"dns": ["::1"]}, config_dir)
    assert text(config_dir) == FILE.replace("\tlist dns '192.0.2.1'\n\tlist dns \"192.0.2.2\"\n", "\tlist dns '::1'\n")
    uci.set_options("demo", "loopback", {"dns": []}, config_dir)
    assert "dns" not in text(config_dir)


def test_list_items_come_and_go(config_dir: str) -> None:
    assert uci.change_list("demo", "loopback", "dns", add=["x", "192.0.2.1"], config_dir=config_dir) == (
        "192.0.2.1",
        "192.0.2.2",
        "x",
    )
    assert uci.change_list("demo", "loopback", "dns", remove=["192.0.2.1", "x"], config_dir=config_dir) == (
        "192.0.2.2",
    )


def test_sections_come_and_go(config_dir: str) -> None:
    name = uci.add_section("demo", "host", options={"name": "tv"}, config_dir=config_dir)
    assert text(config_dir) == FILE + "\nconfig host\n\toption name 'tv'\n"
    assert uci.read("demo", config_dir)[-1].name == name
    uci.delete_section("demo", "@host[0]", config_dir)
    assert [s.options.get("name") for s in uci.read("demo", config_dir)] == [None, "nas", "tv"]
    assert text(config_dir).startswith("# the owner's words\n")
    with pytest.raises(uci.UciError, match="already"):
        uci.add_section("demo", "interface", "loopback", config_dir=config_dir)
    with pytest.raises(uci.UciError, match="no section 'gone'"):
        uci.delete_section("demo", "gone", config_dir)


def test_the_first_write_makes_a_private_file(tmp_path: Path) -> None:
    uci.add_section("new", "a", "b", {"x": "1"}, str(tmp_path))
    assert (tmp_path / "new").read_text() == "config a 'b'\n\toption x '1'\n"
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


def test_mode_and_link_stay_and_no_temporary_file_is_left(config_dir: str, tmp_path: Path) -> None:
    target = tmp_path / "real" / "demo"
    target.parent.mkdir()
    (tmp_path / "demo").rename(target)
    target.chmod(0o640)
    (tmp_path / "demo").symlink_to(target)
    uci.set_options("demo", "loopback", {"device": "lo1"}, config_dir)
    assert (tmp_path / "demo").is_symlink()
    assert "lo1" in target.read_text()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert os.listdir(target.parent) == ["demo"]


def test_an_error_in_the_block_writes_nothing(config_dir: str) -> None:
    with pytest.raises(ZeroDivisionError), uci.edit("demo", config_dir) as document:
        document.set("loopback", "device", "gone")
        raise ZeroDivisionError
    assert text(config_dir) == FILE


def test_a_full_disk_leaves_the_old_file(config_dir: str, mocker) -> None:  # type: ignore[no-untyped-def]
    mocker.patch("os.fsync", side_effect=OSError(28, "No space left on device"))
    with pytest.raises(OSError, match="No space"):
        uci.set_options("demo", "loopback", {"device": "gone"}, config_dir)
    assert text(config_dir) == FILE
    assert os.listdir(config_dir) == ["demo"]


def test_an_unchanged_file_is_not_written(config_dir: str) -> None:
    before = Path(config_dir, "demo").stat().st_ino
    uci.set_options("demo", "loopback", {"missing": None}, config_dir)
    assert Path(config_dir, "demo").stat().st_ino == before


def test_a_lock_that_is_never_released_is_named(config_dir: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uci, "LOCK_TIMEOUT_S", 0.0)
    with Path(config_dir, "demo").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # as `uci commit` holds it
        with pytest.raises(uci.UciError, match="is locked by another program"):
            uci.set_options("demo", "loopback", {"device": "x"}, config_dir)


def test_a_file_that_is_far_too_large_is_read_in_part_and_never_written(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("config a 'a'\n\toption x '1'\n" + "# filler\n" * 100_000)
    document = uci.document("demo", str(tmp_path))
    assert document.sections()[0].options == {"x": "1"}
    assert document.damage[0].line == 0
    with pytest.raises(uci.UciError, match="larger than"):
        uci.set_options("demo", "a", {"x": "2"}, str(tmp_path))


def _count_up(config_dir: str, worker: int) -> None:
    for number in range(25):
        uci.change_list("demo", "loopback", "dns", add=[f"{worker}.{number}"], config_dir=config_dir)


def test_writers_at_the_same_time_lose_nothing(config_dir: str) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_count_up, args=(config_dir, worker)) for worker in range(4)]
    for process in workers:
        process.start()
    for process in workers:
        process.join()
        assert process.exitcode == 0
    dns = uci.read("demo", config_dir)[0].options["dns"]
    assert len(dns) == 2 + 4 * 25


def test_procd_is_told_as_reload_config_tells_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tmp_path / "said"
    ubus = tmp_path / "ubus"
    ubus.write_text(f'#!/bin/sh\nprintf "%s|" "$@" > {said}\n')
    ubus.chmod(0o755)
    monkeypatch.setattr(uci, "UBUS", str(ubus))
    monkeypatch.setattr(uci, "PROCD", str(tmp_path / "procd"))
    assert uci.config_changed("dpi-dual") is False  # no procd, nobody to tell
    (tmp_path / "procd").touch()
    assert uci.config_changed("dpi-dual") is True
    assert said.read_text() == 'call|service|event|{"type":"config.change","data":{"package":"dpi-dual"}}|'
    ubus.write_text("#!/bin/sh\nexit 4\n")
    assert uci.config_changed("dpi-dual") is False
