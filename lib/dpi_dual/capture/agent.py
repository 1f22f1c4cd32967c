"""The connection to a DPI agent: made, read, dropped when it makes no sense, and made again."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Callable

from dpi_dual.capture.decode import BAD, decode_all
from dpi_dual.capture.framing import Framing, FramingError
from dpi_dual.capture.ndpid import NdpidSession, is_private
from dpi_dual.capture.netifyd import NetifydSession
from dpi_dual.capture.netifyd_agent import FLOW_STATS_SINCE
from dpi_dual.capture.session import Route, Session
from dpi_dual.model import Problem

#: Bytes taken from the socket at a time; some 200 messages, handled before others get their turn.
CHUNK = 65536

#: netifyd speaks at least every 15 s.
SILENCE_S = 45.0

#: Waits between attempts, in seconds. netifyd never tells again of a flow that began before we were connected, so the
#: time between its start and our connection is lost; procd starts it again 5 s after a crash.
BACKOFF_S = (*[0.25] * 60, *[1.0] * 60, 5.0)

#: A connection that lasted so long was a good one: the next wait is the first of `BACKOFF_S` again.
GOOD_CONNECTION_S = 5.0

CONNECT_TIMEOUT_S = 5.0

#: So long are lost packets a problem of the present; the counters keep them for good.
LOST_S = 900.0

#: Counts that are told less often are told late.
LATE_S = 900.0


class AgentClient:
    """One agent's socket. It is only ever read: netifyd drops a client that sends a byte.

    `address` is the path of a unix socket or `host:port`. `route` tells which flow table watches an interface.
    What agent it is shows in what it says; its session, and so its flows, outlive a lost connection.
    """

    def __init__(
        self,
        name: str,
        address: str,
        route: Route,
        is_local: Callable[[str], bool] = is_private,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.address = address
        self.connected = False
        self.since = 0.0
        """Unix time of the present connection; 0 while there is none."""
        self.last_message_at = 0.0
        self.error = ""
        """Why the last attempt or connection ended; '' while all is well."""
        self.session: Session | None = None
        self._route = route
        self._is_local = is_local
        self._clock = clock
        self._monotonic = monotonic
        self._framing = Framing()
        self._counts = dict.fromkeys(("connects", "frames", "frames_bad", "resyncs"), 0)
        self._heard_at = 0.0
        self._resync_at = float("-inf")
        self._attempted = False

    async def run(self) -> None:
        """Stay connected until cancelled."""
        attempt = 0
        while True:
            started = self._monotonic()
            try:
                await self._converse()
                self.error = "the agent closed the connection"
            except FramingError as error:
                self._counts["resyncs"] += 1
                self._resync_at = self._monotonic()
                self.error = str(error)
            except TimeoutError:
                self.error = "no answer to the connection attempt"
            except OSError as error:
                self.error = error.strerror or str(error)
            finally:
                lasted = self._monotonic() - started if self.connected else 0.0
                self.connected = False
                self.since = 0.0
                self._attempted = True
            attempt = 0 if lasted >= GOOD_CONNECTION_S else attempt
            wait = BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)]
            attempt += 1
            await asyncio.sleep(wait * random.uniform(0.75, 1.25))  # noqa: S311 (spreads load, guards nothing)

    async def _converse(self) -> None:
        loop = asyncio.get_running_loop()
        with _open_socket(self.address) as (sock, target):
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await loop.sock_connect(sock, target)
            self.meet()
            while True:
                data = await loop.sock_recv(sock, CHUNK)
                if not data:
                    return
                self.ingest(data)
                await asyncio.sleep(0)  # sock_recv does not wait while bytes are there: give others their turn

    def meet(self) -> None:
        """A new connection stands."""
        self._framing = Framing()
        self._counts["connects"] += 1
        self._heard_at = self._monotonic()
        self.connected = True
        self.since = self._clock()
        self.error = ""
        if self.session is not None:
            self.session.connected()

    def ingest(self, data: bytes) -> None:
        """Handle what a read brought. Raises FramingError when the connection is of no further use."""
        now = self._heard_at = self._monotonic()
        self.last_message_at = self._clock()
        broken: FramingError | None = None
        payloads: list[bytes] = []
        try:
            for payload in self._framing.feed(data):
                payloads.append(payload)
        except FramingError as error:
            broken = error
        if payloads:
            session = self._session_for(self._framing.kind)
            session.now = now
            handle = session.handle
            self._counts["frames"] += len(payloads)
            for message in decode_all(payloads):
                if message is BAD:
                    self._counts["frames_bad"] += 1
                else:
                    handle(message)
        if broken is not None:
            raise broken

    def _session_for(self, framing_kind: str) -> Session:
        """The session with this kind of agent; the flows of another kind that was here before are over."""
        session = self.session
        kind = NdpidSession.kind if framing_kind == "ndpid" else NetifydSession.kind
        if session is not None and session.kind == kind:
            return session
        if session is not None:
            session.restarted()
        if kind == NdpidSession.kind:
            session = NdpidSession(self.name, self._route, self._monotonic, self._is_local)
        else:
            session = NetifydSession(self.name, self._route, self._monotonic)
        session.connected()
        self.session = session
        return session

    def reroute(self) -> None:
        """Who watches which interface has changed."""
        if self.session is not None:
            self.session.reroute()

    # -- how it is ------------------------------------------------------------------------------------------

    @property
    def kind(self) -> str:
        """netifyd, ndpid, or '' while nothing has been heard."""
        return self.session.kind if self.session is not None else ""

    def status(self) -> dict[str, object]:
        session = self.session
        return {
            "name": self.name,
            "address": self.address,
            "connected": self.connected,
            "kind": self.kind,
            "agent_version": session.version if session else "",
            "since": self.since,
            "last_message_at": self.last_message_at,
            "uptime_s": getattr(session, "uptime_s", -1),
            "restarts": session.restarts if session else 0,
            "error": self.error,
            **self._counts,
            "unknown_types": dict(session.unknown_types) if session else {},
            "ignored": dict(session.ignored) if session else {},
            "capture_drops": dict(session.capture_drops) if session else {},
        }

    def counters(self) -> dict[str, int]:
        counts = dict(self._counts)
        if (session := self.session) is not None:
            counts |= {
                "restarts": session.restarts,
                "flow_messages": session.flow_messages,
                "malformed": session.malformed,
                "unknown_types": sum(session.unknown_types.values()),
                "ignored": sum(session.ignored.values()),
                "capture_drops": sum(session.capture_drops.values()),
            }
        return {f"agent_{self.name}_{name}": number for name, number in counts.items()}

    def problems(self) -> list[Problem]:
        found: list[Problem] = []
        where: dict[str, object] = {"agent": self.name, "address": self.address}
        if not self.connected:
            if self._attempted:
                found.append(
                    Problem(
                        "netifyd_unreachable",
                        f"No DPI agent answers at {self.address} ({self.error}): flows are not classified.",
                        "Install and start netifyd, or set netifyd_socket in the tap and lan sections.",
                        "error",
                        where,
                    )
                )
            return found
        silent_s = self._monotonic() - self._heard_at
        if silent_s > SILENCE_S and self.kind != NdpidSession.kind:
            found.append(
                Problem(
                    "netifyd_silent",
                    f"The DPI agent at {self.address} has said nothing for {int(silent_s)} s.",
                    "It may hang: restart it (/etc/init.d/netifyd restart).",
                    details=where | {"silent_s": int(silent_s)},
                )
            )
        if self._monotonic() - self._resync_at < 300:
            found.append(
                Problem(
                    "agent_stream_broken",
                    f"What came from {self.address} was not what a DPI agent sends; the connection was made anew.",
                    details=where | {"resyncs": self._counts["resyncs"]},
                )
            )
        if self.session is not None:
            found += _session_problems(self.session, where)
        return found


def _session_problems(session: Session, where: dict[str, object]) -> list[Problem]:
    found: list[Problem] = []
    ignored = sorted(session.ignored, key=lambda name: -session.ignored[name])
    if ignored:
        watched = session.flow_messages > 0
        found.append(
            Problem(
                "agent_interfaces_ignored",
                f"The DPI agent reports flows of {', '.join(ignored[:8])}, which nobody watches"
                + ("." if watched else ", and of no interface that is watched."),
                "" if watched else "Make netifyd capture the tap and lan interfaces of /etc/config/dpi-dual.",
                "info" if watched else "warning",
                where | {"interfaces": ignored[:8]},
            )
        )
    if (
        isinstance(session, NetifydSession)
        and () < session.version_tuple < FLOW_STATS_SINCE
        and not session.flow_stats_seen
    ):
        found.append(
            Problem(
                "netifyd_no_flow_stats",
                f"netifyd {session.version} tells a flow's bytes only when it ends: figures come late.",
                "Update netifyd to 4.4.5 or later.",
                "info",
                where | {"version": session.version},
            )
        )
    if isinstance(session, NdpidSession) and session.idle_s > LATE_S:
        found.append(
            Problem(
                "ndpid_tells_late",
                f"nDPId tells the bytes of a live TCP flow every {session.idle_s / 60:.0f} min: figures come late.",
                "Start nDPId with -o tcp-max-idle-time=300000000 -o tcp-max-post-end-flow-time=15000000.",
                "info",
                where | {"idle_s": session.idle_s},
            )
        )
    if (lost := session.capture_drops) and session.monotonic() - session.lost_at < LOST_S:
        worst = max(lost, key=lambda name: lost[name])
        found.append(
            Problem(
                "agent_capture_drops",
                f"The DPI agent lost {sum(lost.values())} packets, most on {worst}: figures are too low.",
                "The router is too busy for all its traffic to be inspected.",
                details=where | {"drops": dict(lost)},
            )
        )
    return found


class _open_socket:  # noqa: N801 (used as a function)
    """A non-blocking socket for `address` and what to connect it to; closed on leaving."""

    def __init__(self, address: str) -> None:
        host, colon, port = address.rpartition(":")
        if address.startswith("/") or not colon or not port.isdigit():
            self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._target: str | tuple[str, int] = address
        else:
            host = host.strip("[]")
            self._sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self._target = (host, int(port))
        self._sock.setblocking(False)

    def __enter__(self) -> tuple[socket.socket, str | tuple[str, int]]:
        return self._sock, self._target

    def __exit__(self, *_: object) -> None:
        self._sock.close()
