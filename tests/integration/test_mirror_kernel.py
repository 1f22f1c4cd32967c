"""The mirror on the real kernel: every order of start, stop, crash and hotplug, beside an owner's traffic control."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.netns import Namespace, veth
from tests.integration.mirror_router import COOKIE, Router

pytestmark = pytest.mark.root


@pytest.fixture
def router(make_host: Callable[[str], Namespace], tmp_path: Path) -> Iterator[Router]:
    yield Router(make_host("router"), make_host("far"), tmp_path)


CAPTURE = """
import select, socket, sys
ETH_P_ALL = 3
tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
tap.bind((sys.argv[1], ETH_P_ALL))
print("ready", flush=True)
kinds = {8: 0, 0: 0}
while True:
    readable, _, _ = select.select([tap, sys.stdin], [], [])
    if tap in readable:
        frame = tap.recv(2048)
        if frame[12:14] == b"\\x08\\x00" and frame[23] == 1:
            kinds[frame[34]] += 1
    elif sys.stdin in readable:
        break
print(kinds[8], kinds[0], flush=True)
"""


def test_every_packet_of_both_directions_reaches_the_capture_interface(router: Router) -> None:
    answer = router.mirror("ensure")
    assert answer["complete"] and answer["up"] and answer["ours"] and answer["problems"] == []
    watcher = router.host.popen(sys.executable, "-c", CAPTURE, "tap0", stdin=-1, stdout=-1, text=True)
    assert watcher.stdout is not None and watcher.stdin is not None
    assert watcher.stdout.readline() == "ready\n"
    before = router.mirror("status")
    router.ping(50)
    after = router.mirror("status")
    watcher.stdin.write("enough\n")
    watcher.stdin.close()
    assert watcher.stdout.readline().split() == ["50", "50"]
    watcher.stdout.close()
    grown = {
        way: after["sources"][0][way]["packets"] - before["sources"][0][way]["packets"] for way in ("ingress", "egress")
    }
    assert grown["ingress"] >= 50 and grown["egress"] >= 50
    assert after["packets_mirrored"] == sum(after["sources"][0][way]["packets"] for way in ("ingress", "egress"))
    # Each copy appears once on the capture interface, with its Ethernet header: same packets, same bytes.
    moved = [after["statistics"][f"rx_{unit}"] + after["statistics"][f"tx_{unit}"] for unit in ("packets", "bytes")]
    assert moved == [after["packets_mirrored"], after["bytes_mirrored"]]
    assert after["drops"] == 0


def test_the_capture_interface_says_nothing_of_its_own(router: Router) -> None:
    router.mirror("ensure")
    (link,) = json.loads(router.host.ip("-j", "-d", "addr", "show", "tap0"))
    assert {"UP", "NOARP"} <= set(link["flags"]) and "MULTICAST" not in link["flags"]
    assert link["addr_info"] == [] and link["ifalias"] == "dpi-dual"


@pytest.mark.parametrize(
    "order",
    ["ensure remove", "ensure ensure remove", "ensure remove remove", "remove", "ensure remove ensure ensure remove"],
)
def test_any_order_of_start_and_stop_leaves_what_was_there(router: Router, order: str) -> None:
    before, links = router.control(), router.links()
    for action in order.split():
        answer = router.mirror(action)
        assert router.ours() == ((1, 1) if action == "ensure" else (0, 0))
        assert answer["complete"] is (action == "ensure")
    assert (router.control(), router.links()) == (before, links)


OWNERS = {
    "tbf": ["tc qdisc add dev eth0 root handle 5: tbf rate 50mbit burst 20k latency 50ms"],
    "htb": [
        "tc qdisc add dev eth0 root handle 1: htb default 10",
        "tc class add dev eth0 parent 1: classid 1:10 htb rate 500mbit quantum 6000",
        "tc filter add dev eth0 parent 1: protocol ip prio 3 u32 match ip dst 198.51.100.0/24 flowid 1:10",
    ],
    "empty clsact": ["tc qdisc add dev eth0 clsact"],
    "clsact with filters": [
        "tc qdisc add dev eth0 clsact",
        "tc filter add dev eth0 ingress protocol ip prio 60 u32 match ip src 198.51.100.0/24"
        " action mirred egress mirror dev own0",
        "tc filter add dev eth0 egress protocol ipv6 prio 20 u32 match u32 0 0 action mirred egress mirror dev own0",
    ],
    "clsact with filters at our priorities": [
        "tc qdisc add dev eth0 clsact",
        "tc filter add dev eth0 ingress protocol ip prio 49 u32 match ip src 198.51.100.0/24"
        " action mirred egress mirror dev own0",
        "tc filter add dev eth0 egress protocol all prio 50 u32 match u32 0 0 action mirred egress mirror dev own0",
        "tc filter add dev eth0 egress protocol all prio 49 u32 match u32 0 0 action mirred egress mirror dev own0",
    ],
    "clsact with filters at the first priorities": [
        "tc qdisc add dev eth0 clsact",
        "tc filter add dev eth0 ingress protocol ip prio 1 u32 match ip src 198.51.100.0/24"
        " action mirred egress mirror dev own0",
        "tc filter add dev eth0 egress protocol ip prio 2 u32 match ip src 198.51.100.0/24"
        " action mirred egress mirror dev own0",
    ],
}


@pytest.mark.parametrize("setup", OWNERS)
def test_an_owners_traffic_control_stays_as_it_was(router: Router, setup: str) -> None:
    router.host.ip("link", "add", "own0", "type", "ifb")
    router.host.ip("link", "set", "own0", "up")
    for command in OWNERS[setup]:
        router.host.run(*command.split())
    before = router.control()
    assert router.mirror("ensure")["complete"]
    assert router.ours() == (1, 1)
    assert router.mirror("ensure")["complete"]
    assert router.ours() == (1, 1)
    during = router.control()
    for line in before.splitlines():
        assert line in during
    router.ping(3)
    assert router.mirror("status")["packets_mirrored"] >= 6
    router.mirror("remove")
    assert router.control() == before


def test_owner_filters_behind_ours_still_see_every_packet(router: Router) -> None:
    router.host.ip("link", "add", "own0", "type", "ifb")
    router.host.ip("link", "set", "own0", "up")
    router.mirror("ensure")
    for way in ("ingress", "egress"):
        command = (
            f"tc filter add dev eth0 {way} protocol ip prio 60 u32 match u32 0 0 action mirred egress mirror dev own0"
        )
        router.host.run(*command.split())
    router.ping(20)
    (own,) = json.loads(router.host.ip("-s", "-j", "link", "show", "own0"))
    stats = own["stats64"]
    assert stats["rx"]["packets"] + stats["tx"]["packets"] >= 40


def test_filters_that_an_owner_added_to_our_clsact_keep_it(router: Router) -> None:
    router.host.ip("link", "add", "own0", "type", "ifb")
    router.mirror("ensure")
    command = "tc filter add dev eth0 egress protocol ip prio 60 u32 match u32 0 0 action mirred egress mirror dev own0"
    router.host.run(*command.split())
    router.mirror("remove")
    assert router.ours() == (0, 0)
    left = router.control()
    assert "qdisc clsact" in left and "own0" in left and "pref 49" not in left and "pref 50" not in left


def test_the_mirror_moves_before_an_owners_filter_that_takes_packets_away(router: Router) -> None:
    router.host.ip("link", "add", "own0", "type", "ifb")
    router.host.ip("link", "set", "own0", "up")
    router.mirror("ensure")
    command = (
        "tc filter add dev eth0 ingress protocol ip prio 10 u32 match u32 0 0 action mirred egress redirect dev own0"
    )
    router.host.run(*command.split())
    answer = router.mirror("ensure")
    assert answer["complete"] and router.ours() == (1, 1)
    assert answer["sources"][0]["ingress"]["priority"] < 10
    before = router.mirror("status")["sources"][0]["ingress"]["packets"]
    router.ping(5)
    assert router.mirror("status")["sources"][0]["ingress"]["packets"] >= before + 5


LEGACY = [
    "tc qdisc add dev eth0 handle ffff: ingress",
    "tc filter add dev eth0 parent ffff: protocol all prio 10 u32 match u32 0 0 action mirred egress redirect dev own0",
]


def test_a_mirror_that_must_come_last_says_so(router: Router) -> None:
    for command in OWNERS["clsact with filters at the first priorities"]:
        router.host.run(*command.replace("own0", "lo").split())
    answer = router.mirror("ensure")
    assert answer["complete"] and router.mirror("ensure")["complete"]
    assert {problem["code"] for problem in answer["problems"]} == {"mirror_behind_filters"}


def test_an_owners_ingress_qdisc_is_shared_and_the_missing_direction_named(router: Router) -> None:
    router.host.ip("link", "add", "own0", "type", "ifb")
    router.host.ip("link", "set", "own0", "up")
    for command in LEGACY:
        router.host.run(*command.split())
    before = router.control()
    answer = router.mirror("ensure")
    assert not answer["complete"]
    (source,) = answer["sources"]
    assert source["hook"] == "ingress" and source["ingress"]["present"] and not source["egress"]["present"]
    assert [problem["code"] for problem in answer["problems"]] == ["mirror_egress_impossible"]
    router.mirror("ensure")
    assert router.host.run("tc", "-s", "filter", "show", "dev", "eth0", "ingress").stdout.count(COOKIE) == 1
    router.ping(5)
    assert router.mirror("status")["packets_mirrored"] >= 5
    router.mirror("remove")
    assert router.control() == before


def test_sqm_can_start_restart_and_stop_while_the_mirror_is_there(router: Router) -> None:
    """SQM deletes and adds an `ingress` qdisc, which fails where clsact is: for its interfaces we add `ingress` too."""
    router.host.ip("link", "add", "own0", "type", "ifb")
    router.host.ip("link", "set", "own0", "up")
    assert router.mirror("ensure")["complete"]
    (router.config / "sqm").write_text("config queue 'eth0'\n\toption enabled '1'\n\toption interface 'eth0'\n")
    answer = router.mirror("ensure")
    assert answer["sources"][0]["hook"] == "ingress" and answer["sources"][0]["ingress"]["count"] == 1
    for _ in range(2):
        router.host.run("tc", "qdisc", "del", "dev", "eth0", "handle", "ffff:", "ingress")
        for command in LEGACY:
            router.host.run(*command.split())
        own = router.control()
        assert router.mirror("ensure")["sources"][0]["ingress"]["count"] == 1
    router.mirror("remove")
    assert router.control() == own
    router.host.run("tc", "qdisc", "del", "dev", "eth0", "handle", "ffff:", "ingress")
    (router.config / "sqm").write_text("config queue 'eth0'\n\toption enabled '0'\n\toption interface 'eth0'\n")
    assert router.mirror("ensure")["complete"]


DYING = """
import os, sys
from dpi_dual.capture import mirror
calls = 0
def until(number, name):
    real = getattr(mirror, name)
    def call(*argv):
        global calls
        answer = real(*argv)
        calls += 1
        if calls == number:
            os._exit(9)
        return answer
    setattr(mirror, name, call)
for name in ("create_capture", "dress_capture", "delete_capture", "apply"):
    until(int(sys.argv[1]), name)
sys.exit(mirror.main(sys.argv[2:]))
"""


@pytest.mark.parametrize("action", ["ensure", "remove"])
@pytest.mark.parametrize("then", ["ensure", "remove"])
def test_a_crash_after_any_step_is_made_good_by_the_next_run(router: Router, action: str, then: str) -> None:
    before, links = router.control(), router.links()
    died = 0
    for step in range(1, 10):
        if action == "remove":
            router.mirror("ensure")
        end = router.python(
            "-c", DYING, str(step), action, "--interface", "tap0", "--source", "eth0", check=False
        ).returncode
        if then == "ensure":
            assert router.mirror("ensure")["complete"]
            assert router.ours() == (1, 1)
        router.mirror("remove")
        assert (router.control(), router.links()) == (before, links)
        if end == 0:
            break
        assert end == 9
        died += 1
    assert died >= (3 if action == "ensure" else 2)


READ_ONLY = """
import errno, sys
from dpi_dual.capture import mirror
def refuse(family, interface, name, value):
    raise OSError(errno.EROFS, "Read-only file system")
mirror._sysctl = refuse
sys.exit(mirror.main(sys.argv[1:]))
"""


def test_where_no_setting_of_the_kernel_may_be_changed_there_is_a_mirror_all_the_same(router: Router) -> None:
    if router.mirror("ensure")["kind"] == "veth":
        pytest.skip("this kernel has neither dummy nor ifb: the copies need the settings")
    router.mirror("remove")
    assert router.python("-c", READ_ONLY, "ensure", "--interface", "tap0", "--source", "eth0").returncode == 0
    assert router.mirror("status")["complete"]
    assert router.ours() == (1, 1)


def test_a_capture_interface_made_anew_gets_its_filters_back(router: Router) -> None:
    router.mirror("ensure")
    router.host.ip("link", "del", "tap0")
    gone = router.mirror("status")
    assert not gone["exists"] and not gone["complete"] and gone["sources"][0]["ingress"]["count"] == 1
    assert router.mirror("ensure")["complete"]
    assert router.ours() == (1, 1)
    router.ping(3)
    assert router.mirror("status")["packets_mirrored"] >= 6
    before = router.control()
    assert "clsact" in before
    router.mirror("remove")
    assert "clsact" not in router.control()


def test_a_source_that_vanishes_and_comes_back(router: Router) -> None:
    before = router.control()
    router.mirror("ensure")
    router.host.ip("link", "del", "eth0")
    answer = router.mirror("ensure")
    assert [problem["code"] for problem in answer["problems"]] == ["mirror_source_missing"]
    assert answer["exists"] and not answer["complete"]
    router.cable()
    assert router.mirror("ensure")["complete"]
    assert router.ours() == (1, 1)
    router.mirror("remove")
    assert router.control() == before


def test_another_source_and_another_capture_interface_leave_nothing_behind(router: Router) -> None:
    veth(router.host, "wan", router.far, "wan")
    router.mirror("ensure")
    assert router.mirror("ensure", source="wan")["complete"]
    assert (router.ours("eth0"), router.ours("wan")) == ((0, 0), (1, 1))
    assert "clsact" not in router.control("eth0")
    done = router.python("-m", "dpi_dual.capture.mirror", "ensure", "--interface", "tap1", "--source", "wan")
    assert json.loads(done.stdout)["complete"]
    assert "tap1" in router.links() and "tap0" not in router.links()
    assert router.ours("wan") == (1, 1)


def test_two_sources_share_one_capture_interface(router: Router) -> None:
    veth(router.host, "wan", router.far, "wan")
    answer = router.mirror("ensure", "--source", "wan")
    assert answer["complete"] and [source["name"] for source in answer["sources"]] == ["eth0", "wan"]
    assert (router.ours("eth0"), router.ours("wan")) == ((1, 1), (1, 1))


def test_two_at_once_end_in_one_filter_a_direction(router: Router) -> None:
    command = [sys.executable, "-m", "dpi_dual.capture.mirror", "ensure", "--interface", "tap0", "--source", "eth0"]
    running = [router.host.popen(*command, env=router.environment, stdout=-3) for _ in range(4)]
    assert [process.wait() for process in running] == [0, 0, 0, 0]
    assert router.ours() == (1, 1)


def test_an_owners_interface_of_that_name_is_used_and_kept(router: Router) -> None:
    router.host.ip("link", "add", "tap0", "type", "ifb")
    shown = router.host.ip("-d", "link", "show", "tap0")
    answer = router.mirror("ensure")
    assert not answer["ours"] and not answer["complete"]
    assert [problem["code"] for problem in answer["problems"]] == ["capture_interface_down"]
    router.host.ip("link", "set", "tap0", "up")
    assert router.mirror("ensure")["complete"]
    router.host.ip("link", "set", "tap0", "down")
    router.mirror("remove")
    plain = re.compile(r"qdisc \S+|state \S+|LOWER_UP,?")  # the kernel's own: they change with the first `up`
    assert plain.sub("", router.host.ip("-d", "link", "show", "tap0")) == plain.sub("", shown)
    assert router.ours() == (0, 0)


def test_nothing_is_mirrored_where_copies_would_come_back_or_spread(router: Router) -> None:
    host = router.host
    before = router.control()

    def refusal(interface: str) -> str:
        command = ["-m", "dpi_dual.capture.mirror", "ensure", "--interface", interface, "--source", "eth0"]
        answer = json.loads(router.python(*command).stdout)
        assert not answer["complete"] and router.control() == before
        (problem,) = answer["problems"]
        assert problem["severity"] == "error"
        code: str = problem["code"]
        return code

    assert refusal("eth0") == "mirror_loop"
    assert refusal("lo") == "mirror_bad_interface"
    assert refusal("../x") == "mirror_bad_interface"
    host.ip("link", "add", "busy", "type", "ifb")
    host.ip("addr", "add", "198.51.100.1/24", "dev", "busy")
    assert refusal("busy") == "mirror_bad_interface"
    host.ip("link", "add", "br0", "type", "bridge")
    host.ip("link", "add", "port", "type", "veth", "peer", "name", "other")
    host.ip("link", "set", "port", "master", "br0")
    assert refusal("port") == "mirror_bad_interface"
    host.ip("link", "add", "over", "link", "eth0", "type", "macvlan")
    assert refusal("over") == "mirror_loop"


def test_a_capture_interface_that_is_put_into_a_bridge_gets_no_more_copies(router: Router) -> None:
    router.mirror("ensure")
    router.host.ip("link", "add", "br0", "type", "bridge")
    router.host.ip("link", "set", "tap0", "master", "br0")
    answer = router.mirror("ensure")
    assert [problem["code"] for problem in answer["problems"]] == ["mirror_bad_interface"]
    assert router.ours() == (0, 0)
    router.mirror("remove")
    assert "br0" in router.links()  # it has taken over the MAC address that marks our interface


def test_hardware_mode_creates_nothing_and_watches(router: Router) -> None:
    before, links = router.control(), router.links()
    absent = router.mirror("ensure", "--mode", "hardware")
    assert not absent["complete"] and [p["code"] for p in absent["problems"]] == ["capture_interface_missing"]
    assert (router.control(), router.links()) == (before, links)
    watched = ["-m", "dpi_dual.capture.mirror", "ensure", "--interface", "eth0", "--mode", "hardware"]
    router.ping(2)
    answer = json.loads(router.python(*watched).stdout)
    assert answer["complete"] and answer["sources"] == [] and answer["packets_mirrored"] >= 2
    assert (router.control(), router.links()) == (before, links)


def test_changing_to_hardware_mode_removes_the_software_mirror(router: Router) -> None:
    before, links = router.control(), router.links()
    router.mirror("ensure")
    router.mirror("ensure", "--mode", "hardware")
    assert (router.control(), router.links()) == (before, links)


def test_a_source_without_ethernet_frames_is_refused_by_name(router: Router) -> None:
    router.host.ip("tuntap", "add", "dev", "ppp0", "mode", "tun")
    answer = router.mirror("ensure", source="ppp0")
    assert "mirror_source_not_ethernet" in [problem["code"] for problem in answer["problems"]]
    assert not answer["complete"] and router.ours("ppp0") == (0, 0)


def test_a_veth_pair_serves_where_there_is_neither_dummy_nor_ifb(router: Router) -> None:
    script = (
        "import sys\nfrom dpi_dual.capture import mirror\nmirror.plan.CAPTURE_KINDS = ('veth',)\n"
        "sys.exit(mirror.main(sys.argv[1:]))"
    )
    before, links = router.control(), router.links()
    ensure = ["-c", script, "ensure", "--interface", "tap0", "--source", "eth0"]
    answer = json.loads(router.python(*ensure).stdout)
    assert answer["complete"] and answer["kind"] == "veth"
    router.ping(5)
    after = router.mirror("status")
    assert after["packets_mirrored"] >= 10 and after["statistics"]["tx_packets"] == after["packets_mirrored"]
    assert router.mirror("ensure")["complete"] and router.ours() == (1, 1)
    router.mirror("remove")
    assert (router.control(), router.links()) == (before, links)


def test_wrong_arguments_are_answered_in_json(router: Router) -> None:
    done = router.python("-m", "dpi_dual.capture.mirror", "ensure", check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["code"] == "bad_arguments"


def test_without_the_right_to_change_it_says_so(router: Router) -> None:
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]
    mirror = [sys.executable, "-m", "dpi_dual.capture.mirror"]
    environment = {**router.environment, "DPI_DUAL_RUN_DIR": "/tmp"}
    probe = [*nobody, sys.executable, "-c", "import dpi_dual.capture.mirror"]
    if router.host.run(*probe, env=environment, check=False).returncode:
        pytest.skip("this checkout is not readable for other users")
    ensure = ["ensure", "--interface", "tap0", "--source", "eth0"]
    done = router.host.run(*nobody, *mirror, *ensure, env=environment, check=False)
    answer = json.loads(done.stdout)
    assert done.returncode == 1 and answer["code"] in ("not_permitted", "mirror_failed"), answer
