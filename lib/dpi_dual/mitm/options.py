"""mitmproxy's options of the addon, and the policy it begins with."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from mitmproxy import ctx
from mitmproxy.addonmanager import Loader

from dpi_dual import config, paths
from dpi_dual.mitm import folder as disk
from dpi_dual.mitm import policy as policies
from dpi_dual.mitm.analyser import POLICY_FILE, saved_policy
from dpi_dual.mitm.policy import Policy
from dpi_dual.settings import Backend, Mitm

log = logging.getLogger(__name__)


def add_options(loader: Loader, default: Mitm) -> None:
    """The options; each is a fallback for UCI, which the engine or the file itself brings."""
    loader.add_option("dpi_buffer_size", int, default.buffer_size, "Requests that Buffer B keeps.")
    loader.add_option("dpi_async_analysis", bool, default.async_analysis, "Analyse copies with the full rules.")
    loader.add_option("dpi_replay_enabled", bool, default.replay_on_alert, "Judge requests again on an alert.")
    loader.add_option("dpi_block_threats", bool, default.block_threats, "Refuse requests found guilty.")
    loader.add_option("dpi_buffer_dir", str, "", "Directory of Buffer B; empty: UCI's, or its default.")
    loader.add_option("dpi_key_file", str, "", "Keep Buffer B's key there (0600); empty: in memory only.")
    loader.add_option("dpi_lean", bool, True, "Leave mitmproxy's unused addons out of each request's way.")
    loader.add_option("dpi_backends", Sequence[str], [], "Published services, host=address:port each.")


def buffer_dir() -> str:
    """Where Buffer B is to be, as far as it is known before the engine is heard."""
    settings = config.load() if _has_uci() else config.defaults()
    return str(ctx.options.dpi_buffer_dir or settings.mitm.buffer_dir)


def first_policy(directory: str) -> Policy:
    """UCI's if the file is here, else what the engine said last, else the options."""
    if _has_uci():
        settings = config.load()
        policy = policies.of_settings(settings)
        return policy.changed(enabled="mitm" in settings.parts())
    options = ctx.options
    saved = None
    try:
        folder = disk.open_folder(directory)
        saved = saved_policy(folder)
        os.close(folder)
    except OSError as error:
        log.warning("dpi-dual: %s cannot be used: %s", directory, error)
    if saved is not None:
        log.info("dpi-dual: going by %s until the engine is heard", POLICY_FILE)
        return saved
    backends = []
    for text in options.dpi_backends:
        host, _, address = text.partition("=")
        backends.append(Backend("option", host, host, address))
    chosen = policies.default().changed(
        buffer_size=max(10, options.dpi_buffer_size),
        async_analysis=options.dpi_async_analysis,
        replay_on_alert=options.dpi_replay_enabled,
        block_threats=options.dpi_block_threats,
    )
    return Policy(chosen.mitm, backend=tuple(backends))


def _has_uci() -> bool:
    return Path(paths.CONFIG_DIR, config.PACKAGE).exists()
