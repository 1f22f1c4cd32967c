"""Values: what each format takes and refuses, and what LuCI and procd call it."""

from __future__ import annotations

import pytest

from dpi_dual.schema.values import FORMATS, BadValueError, Spec, datatype, duration_seconds, parse, schema


@pytest.mark.parametrize(
    "path",
    ["", "relative", "/", "/tmp", "/tmp/", "/tmp/.", "//tmp", "/tmp/../etc", "/etc/config", "/etc/config/x",
     "/proc/1", "/sys/x", "/dev/sda", "/usr/lib", "/tmp/./../x", "/etc//config/x", "/etc/./config/x", "/tmp//",
     "/etc/crontabs/root", "/etc/hotplug.d/iface/x", "/etc/dpi-dualx/y", "/root/.ssh/x", "/www/x", "/overlay/upper/x"],
)  # fmt: skip
def test_nothing_is_written_where_it_would_hurt(path: str) -> None:
    with pytest.raises(BadValueError):
        parse(path, {"type": "string", "format": "output-path"})


@pytest.mark.parametrize(
    "path", ["/tmp/secubox", "/mnt/usb/dpi", "/etc/dpi-dual/state", "/var/run/x.sock", "/tmp/a..b"]
)
def test_usual_places_are_fine(path: str) -> None:
    assert parse(path, {"type": "string", "format": "output-path"}) == path


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        ("interface", ["eth0", "br-lan", "pppoe-wan", "eth0.2", "wan@x"], [".", "..", "a b", "a:1", "é", "x" * 16]),
        ("host", ["router", "a.example", "192.0.2.1", "2001:db8::1"], ["*.a", "a b", "-a", "1.2.3", "a" * 254, "a/b"]),
        ("host-pattern", ["*.example.org", "example.org"], ["*", "*.*.org", "a.*"]),
        ("network", ["192.0.2.1", "192.0.2.9/24", "2001:db8::/32", "::1"], ["192.0.2", "x", "192.0.2.1/33", "1"]),
        ("listen", [":443", "0.0.0.0:1", "[::]:80", "host:8088"], ["443", ":0", ":65536", "::1:80", "[1]:80", "a:b"]),
        ("origin", ["192.0.2.1:80", "https://nas:443", "http://[::1]:8"], [":80", "nas", "ftp://nas:1", "http://"]),
        ("url", ["http://a", "https://a.b:8/x?y", "http://[::1]:9/"], ["a", "http://", "http://a b", "http://u@h/"]),
        ("duration", ["4h", "30m", "1h30m", "7d", "3600"], ["0", "h", "-1h", "366d", "4 h", "4w", "9999999999h"]),
        ("token", ["942100", "X-Frame-Options"], ["a b", "", "a:b", "é"]),
        ("url-path", ["/", "/a?b"], ["a", "/a b"]),
        ("path", ["/a"], ["a", "/../x", "/a/.."]),
        ("topic", ["a/b"], ["a/+", "#"]),
        ("text", ["any thing"], ["x" * 1025, "a\x1bb", "\udcff"]),
    ],
)  # fmt: skip
def test_formats(form: str, good: list[str], bad: list[str]) -> None:
    spec = {"type": "string", "format": form}
    for text in good:
        assert parse(text, spec) == text
    for text in bad:
        with pytest.raises(BadValueError):
            parse(text, spec)


def test_durations_in_seconds() -> None:
    assert [duration_seconds(t) for t in ("4h", "1h30m", "90s", "7d", "3600")] == [14400, 5400, 90, 604800, 3600]
    with pytest.raises(ValueError, match="'4 h' is not a duration"):
        duration_seconds("4 h")


def options() -> list[Spec]:
    sections = [*schema().values(), *schema()["secrets"]["properties"].values()]
    found = [spec.get("items", spec)["properties"] for spec in sections]
    return [option for properties in found for option in properties.values() if "uciType" not in option]


def test_every_option_has_a_type_that_luci_and_procd_know() -> None:
    for option in options():
        assert datatype(option)
    used = {option.get("items", option).get("format") for option in options()}
    assert used - {None} == set(FORMATS)
