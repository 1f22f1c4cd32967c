"""The panel: login, then the sections of `dpi_panel`, refreshed in place.

    streamlit run panels/streamlit/app.py        (or: make panel)

DPI_PANEL_URL is the router's address at first, DPI_PANEL_CA the file of its certificate.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import streamlit as st

from dpi_panel import sections
from dpi_panel.router import LoginError, Router, RouterError

REFRESH_S = 5


def main() -> None:
    """Draws the page; Streamlit runs this file anew for every visit and click."""
    st.set_page_config(page_title="DPI Dual-Stream", layout="wide")
    st.title("DPI Dual-Stream")
    router: Router | None = st.session_state.get("dpi_router")
    if router is None:
        _login()
        return
    with st.sidebar:
        st.text(router.url)
        if st.button("Log out"):
            _forget(router)
            st.rerun()
    _live(router)


def _login() -> None:
    with st.form("login"):
        url = st.text_input("Router", os.environ.get("DPI_PANEL_URL", "https://192.168.1.1"))
        user = st.text_input("Name", "root", autocomplete="username")
        password = st.text_input("Password", type="password", autocomplete="current-password")
        if not st.form_submit_button("Log in"):
            return
    router = Router(url.strip().rstrip("/"), verify=os.environ.get("DPI_PANEL_CA") or True)
    try:
        router.login(user, password)
    except RouterError as error:
        router.close()
        st.error("Not logged in.")
        st.text(error.message)
        return
    st.session_state["dpi_router"] = router
    st.rerun()


def _forget(router: Router) -> None:
    router.close()
    del st.session_state["dpi_router"]


@st.fragment(run_every=REFRESH_S)
def _live(router: Router) -> None:
    try:
        for title, section in SECTIONS:
            if title:
                st.header(title)
            section(router)
    except LoginError:
        _forget(router)
        st.rerun(scope="app")
    except RouterError as error:
        sections.trouble(error)


def _traffic(router: Router) -> None:
    counter, pie = st.columns([1, 2])
    with counter:
        sections.flow_counter(router)
    with pie:
        sections.protocol_pie(router)


SECTIONS: tuple[tuple[str, Callable[[Router], Any]], ...] = (
    ("", sections.health),
    ("", sections.stream_status),
    ("Flows on the WAN", _traffic),
    ("Request buffer", sections.buffer_use),
    ("Threats", sections.threats),
)

main()
