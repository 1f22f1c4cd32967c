"""uci-defaults and netifyd-setup.sh with real uci: what they fill in, what they leave alone, what they take back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.openwrt.router import ROOT, Router, router

pytestmark = pytest.mark.root

SHIPPED = (ROOT / "config" / "dpi-dual").read_text()
NETIFYD = "config netifyd\n\toption enabled '1'\n\toption autoconfig '1'\n"
CONF = "[netifyd]\nenable_sink = no\n\n[protocols]\nall=include\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    with router(tmp_path_factory.mktemp("first-boot")) as box:
        yield box


@pytest.fixture
def box(made: Router) -> Router:
    """As a router is before the package's first boot."""
    made.sh("rm -f /tmp/.uci/*; cp -p /etc/uci-defaults/60-dpi-dual /tmp/script")
    made.write("/etc/config/dpi-dual", SHIPPED)
    made.write("/etc/config/netifyd", NETIFYD)
    made.write("/etc/netifyd.conf", CONF)
    network = "config interface 'lan'\n\toption device 'br-lan'\nconfig interface 'wan'\n\toption device 'eth7'\n"
    made.write("/etc/config/network", network)
    return made


def _boot(box: Router) -> None:
    box.sh("cd /etc/uci-defaults && . ./60-dpi-dual")


def _get(box: Router, option: str) -> str:
    return box.run("uci", "-q", "get", option, check=False).strip()


def test_the_wan_and_the_lan_are_found(box: Router) -> None:
    box.run("uci", "set", "network.lan.device=br-home")
    box.run("uci", "commit", "network")
    _boot(box)
    assert _get(box, "dpi-dual.tap.mirror_source") == "eth7"
    assert _get(box, "dpi-dual.lan.interface") == "br-home"


@pytest.mark.parametrize(
    ("network", "source"),
    [
        ("config interface 'wan'\n\toption ifname 'eth3 eth4'\n", "eth3"),
        ("config interface 'wan'\n\toption type 'bridge'\n\toption ifname 'eth3'\n", "br-wan"),
        ("config interface 'wan'\n\toption proto 'pppoe'\n\toption device 'eth2.7'\n", "eth2.7"),
        ("config interface 'wan'\n\toption device '@lan'\n", "eth0"),
        ("", "eth0"),
    ],
    ids=["old ifname", "bridge", "below PPPoE", "an alias", "no WAN"],
)
def test_where_the_wan_is_named(box: Router, network: str, source: str) -> None:
    box.write("/etc/config/network", network)
    _boot(box)
    assert _get(box, "dpi-dual.tap.mirror_source") == source


def test_board_json_is_the_last_resort(box: Router) -> None:
    box.write("/etc/config/network", "")
    box.write("/etc/board.json", '{"network": {"wan": {"device": "wan9"}, "lan": {"device": "br-lan"}}}')
    _boot(box)
    box.sh("rm /etc/board.json")
    assert _get(box, "dpi-dual.tap.mirror_source") == "wan9"


def test_an_old_configuration_is_completed_and_kept(box: Router) -> None:
    old = "config global 'settings'\n\toption mode 'tap-only'\n\nconfig tap 'tap'\n\toption mirror_source 'pppoe0'\n"
    old += "\nconfig mitm 'mitm'\n\tlist trusted_proxy '10.0.0.1'\n\toption made_up 'x'\n"
    box.write("/etc/config/dpi-dual", old)
    _boot(box)
    assert _get(box, "dpi-dual.settings.mode") == "tap-only"
    assert _get(box, "dpi-dual.tap.mirror_source") == "pppoe0"
    assert _get(box, "dpi-dual.mitm.trusted_proxy") == "10.0.0.1"
    assert _get(box, "dpi-dual.mitm.made_up") == "x"
    assert _get(box, "dpi-dual.lan.interface") == "br-lan"
    assert _get(box, "dpi-dual.tap.flow_retention") == "300"
    assert _get(box, "dpi-dual.correlation.auto_ban_duration") == "4h"
    assert _get(box, "dpi-dual.whitelist") == "whitelist"


def test_the_owners_choice_of_interface_survives_an_upgrade(box: Router) -> None:
    box.write("/etc/config/dpi-dual", SHIPPED.replace("'300'", "'600'"))
    _boot(box)
    assert _get(box, "dpi-dual.tap.mirror_source") == "eth0"
    assert _get(box, "dpi-dual.tap.flow_retention") == "600"


def test_twice_is_once(box: Router) -> None:
    files = "/etc/config/dpi-dual /etc/config/netifyd /etc/netifyd.conf"
    _boot(box)
    before = box.sh(f"cat {files}")
    _boot(box)
    assert box.sh(f"cat {files}") == before
    assert box.run("uci", "changes") == ""


def test_a_configuration_that_fits_keeps_its_comments(box: Router) -> None:
    box.write("/etc/config/network", "")
    _boot(box)
    assert box.run("cat", "/etc/config/dpi-dual") == SHIPPED


def test_secrets_are_root_s_alone(box: Router) -> None:
    box.run("chmod", "644", "/etc/config/dpi-dual-secrets")
    _boot(box)
    assert box.run("ls", "-l", "/etc/config/dpi-dual-secrets").startswith("-rw-------")


# --- netifyd


def test_netifyd_at_its_defaults_watches_ours_and_phones_nobody(box: Router) -> None:
    _boot(box)
    assert _get(box, "netifyd.@netifyd[0].internal_if") == "tap0 br-lan"
    assert _get(box, "netifyd.@netifyd[0].autoconfig") == "0"
    conf = box.run("cat", "/etc/netifyd.conf")
    assert conf.startswith(CONF)
    assert "[netify_api]\nenable_updates = no" in conf
    assert conf.count("save = volatile") == 2
    assert "[socket]\ndump_unknown_flows = yes" in conf
    assert "captures tap0 br-lan from now on" in box.log()


def test_it_is_all_taken_back(box: Router) -> None:
    before = box.run("uci", "export", "netifyd")
    _boot(box)
    box.run("/usr/lib/dpi-dual/netifyd-setup.sh", "undo")
    assert box.run("uci", "export", "netifyd") == before
    assert box.run("cat", "/etc/netifyd.conf") == CONF


@pytest.mark.parametrize(
    "chosen",
    ["\toption autoconfig '0'\n", "\tlist internal_if 'br-guest'\n", "\tlist external_if 'eth1'\n"],
    ids=["autoconfig", "internal", "external"],
)
def test_what_the_owner_chose_for_netifyd_stays(box: Router, chosen: str) -> None:
    box.write("/etc/config/netifyd", f"config netifyd\n\toption enabled '1'\n{chosen}")
    before = box.run("uci", "export", "netifyd")
    _boot(box)
    assert box.run("uci", "export", "netifyd") == before
    assert "list internal_if 'tap0'" in box.log()
    box.run("/usr/lib/dpi-dual/netifyd-setup.sh", "undo")
    assert box.run("uci", "export", "netifyd") == before


def test_what_the_owner_wrote_into_netifyd_conf_stays(box: Router) -> None:
    own = CONF + "[netify_api]\nenable_updates=yes\n\n[dns_hint_cache]\nsave = persistent\n"
    box.write("/etc/netifyd.conf", own)
    _boot(box)
    conf = box.run("cat", "/etc/netifyd.conf")
    assert conf.startswith(own)
    assert "enable_updates = no" not in conf
    assert conf.count("save = volatile") == 1


def test_a_block_of_an_earlier_version_is_brought_up_to_date(box: Router) -> None:
    _boot(box)
    now = box.run("cat", "/etc/netifyd.conf")
    box.write("/etc/netifyd.conf", now.replace("\n[socket]\ndump_unknown_flows = yes\n", "") + "[watches]\n")
    box.run("/usr/lib/dpi-dual/netifyd-setup.sh", "apply")
    assert box.run("cat", "/etc/netifyd.conf") == CONF + "[watches]\n" + now.removeprefix(CONF)
    box.run("/usr/lib/dpi-dual/netifyd-setup.sh", "undo")
    assert box.run("cat", "/etc/netifyd.conf") == CONF + "[watches]\n"


def test_what_the_owner_added_later_survives_the_undoing(box: Router) -> None:
    _boot(box)
    box.run("uci", "add_list", "netifyd.@netifyd[0].internal_if=br-guest")
    box.run("uci", "commit", "netifyd")
    box.run("/usr/lib/dpi-dual/netifyd-setup.sh", "undo")
    assert _get(box, "netifyd.@netifyd[0].internal_if") == "br-guest"
    assert _get(box, "netifyd.@netifyd[0].autoconfig") == "0"


def test_another_capture_interface_is_followed(box: Router) -> None:
    _boot(box)
    box.run("uci", "set", "dpi-dual.tap.interface=tap7")
    box.run("uci", "set", "dpi-dual.lan.enabled=0")
    box.run("uci", "commit", "dpi-dual")
    box.run("/usr/lib/dpi-dual/netifyd-setup.sh", "apply")
    assert _get(box, "netifyd.@netifyd[0].internal_if") == "tap7"
    box.run("uci", "set", "dpi-dual.settings.enabled=0")
    box.run("uci", "commit", "dpi-dual")
    box.run("/usr/lib/dpi-dual/netifyd-setup.sh", "apply")
    assert _get(box, "netifyd.@netifyd[0].internal_if") == ""
    assert _get(box, "netifyd.@netifyd[0].autoconfig") == "1"


def test_somebody_else_s_staged_changes_are_not_committed(box: Router) -> None:
    box.run("uci", "set", "netifyd.@netifyd[0].enabled=0")
    staged = box.run("uci", "changes", "netifyd")
    _boot(box)
    assert box.run("uci", "changes", "netifyd") == staged
    assert "option enabled '1'" in box.run("cat", "/etc/config/netifyd")


def test_without_netifyd_nothing_is_made(box: Router) -> None:
    box.sh("rm /etc/config/netifyd /etc/netifyd.conf")
    _boot(box)
    assert box.sh("ls /etc/config/netifyd /etc/netifyd.conf 2>/dev/null", check=False) == ""
