"""Which of mitmproxy's own addons are left out, checked on a real mitmdump's set of them."""

from __future__ import annotations

import asyncio
import warnings

import pytest

with warnings.catch_warnings():
    # One dependency of mitmproxy uses names that another of them deprecates.
    warnings.simplefilter("ignore", DeprecationWarning)
    from mitmproxy import ctx, options
    from mitmproxy.tools.dump import DumpMaster

    from dpi_dual.mitm.lean import IDLE, make_lean

#: What routes, terminates TLS and guards: no request may go without.
NEEDED = {"core", "block", "clientplayback", "disableh2c", "proxyserver", "nextlayer", "tlsconfig", "updatealtsvc"}


def _left_out(**given: object) -> tuple[set[str], set[str]]:
    """The names left out, and those that stay."""

    async def go() -> tuple[set[str], set[str]]:
        before = vars(ctx).get("master"), vars(ctx).get("options")
        master = DumpMaster(options.Options(), with_termlog=False)
        try:
            master.options.update(**{"mode": ["reverse:http://127.0.0.1:9"], "flow_detail": 0, **given})
            dropped = {name.lower() for name in make_lean()}
            return dropped, {type(addon).__name__.lower() for addon in master.addons.chain}
        finally:
            ctx.master, ctx.options = before

    return asyncio.run(go())


def test_all_idle_ones_go_and_all_needed_ones_stay() -> None:
    dropped, stay = _left_out()
    assert len(dropped) >= 20
    assert stay >= NEEDED
    assert not set(IDLE) & NEEDED


@pytest.mark.parametrize(
    ("option", "value", "addon"),
    [
        ("flow_detail", 1, "dumper"),
        ("stickycookie", ".*", "stickycookie"),
        ("block_list", ["/~u x/404"], "blocklist"),
        ("map_remote", ["|a|b"], "mapremote"),
        ("anticache", True, "anticache"),
    ],
)
def test_what_an_option_asks_for_stays(option: str, value: object, addon: str) -> None:
    assert addon in _left_out(**{option: value})[1]


def test_other_modes_are_left_alone() -> None:
    assert _left_out(mode=["regular"])[0] == set()
