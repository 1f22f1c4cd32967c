"""nDPI, as nfstream's wheel brings it: one packet after another into a detection, until it knows or gives up."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

# The engine module alone: the nfstream package would bring pandas and 60 MB with it.
from _lib_engine import ffi, lib  # type: ignore[import-not-found]

from lab.netifyd.packets import TCP, Memory, Packet

#: Packets after which nDPI has to say what it believes.
MAX_PACKETS = 32

_NEVER_MS = 1 << 62  # nfstream's own expiry, which we do not use
_SYNC = 1  # nfstream copies what nDPI found after each packet, not at the end only

_UINT16 = 0xFFFF
_IPV4 = struct.Struct("=I")
_IPV6 = struct.Struct("=QQ")


@dataclass(frozen=True)
class Finding:
    """What nDPI says about a flow."""

    protocol: str = "Unknown"
    protocol_id: int = 0
    application: str = "Unknown"
    application_id: int = 0
    host_name: str = ""
    guessed: bool = False
    details: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By protocol, in netifyd's words: `ssl`, `http`, `ssh`, `dhcp`."""

    @property
    def known(self) -> bool:
        return self.protocol != "Unknown"


class Engine:
    """nDPI with all its dissectors on."""

    def __init__(self) -> None:
        sizes = ffi.new("struct dissector_checker *")
        sizes.flow_size = ffi.sizeof("struct ndpi_flow_struct")
        sizes.flow_tcp_size = ffi.sizeof("struct ndpi_flow_tcp_struct")
        sizes.flow_udp_size = ffi.sizeof("struct ndpi_flow_udp_struct")
        self._dissector = lib.dissector_init(sizes)
        if self._dissector == ffi.NULL:
            raise RuntimeError("nfstream's engine refuses to start: built against another nDPI")
        lib.dissector_configure(self._dissector)
        self._packet = ffi.new("struct nf_packet *")

    def load(
        self,
        memory: Memory,
        packet: Packet,
        addresses: tuple[bytes, bytes],
        ports: tuple[int, int],
        backward: bool,
        now_ms: int,
    ) -> None:
        """Describes a packet, its source first, for the next `detect()` or `feed()`. `memory` must stay until then."""
        filled = self._packet
        unpack = _IPV4 if packet.version == 4 else _IPV6
        filled.src_ip, filled.dst_ip = ([*unpack.unpack(address), 0][:2] for address in addresses)
        filled.src_port, filled.dst_port = ports
        filled.direction = backward
        filled.time = now_ms
        filled.ip_version, filled.protocol, filled.vlan_id = packet.version, packet.protocol, packet.vlan
        filled.raw_size = min(packet.frame_bytes, _UINT16)
        filled.ip_size = min(packet.ip_bytes, _UINT16)
        transport_bytes = max(0, filled.ip_size - (packet.transport - packet.ip))
        filled.transport_size = transport_bytes
        filled.payload_size = max(0, transport_bytes - (packet.tcp_header_bytes if packet.protocol == TCP else 8))
        flags = packet.tcp_flags
        filled.fin, filled.syn, filled.rst = flags & 1, flags >> 1 & 1, flags >> 2 & 1
        filled.psh, filled.ack, filled.urg = flags >> 3 & 1, flags >> 4 & 1, flags >> 5 & 1
        self._memory = ffi.from_buffer(memory)
        filled.ip_content = ffi.cast("uint8_t *", self._memory) + packet.ip
        filled.ip_content_len = min(packet.end - packet.ip, filled.ip_size)

    def _unload(self) -> None:
        self._packet.ip_content = ffi.NULL
        ffi.release(self._memory)

    def detect(self) -> Detection:
        """Begins a flow with the packet loaded."""
        try:
            flow = lib.meter_initialize_flow(self._packet, 0, 0, 0, MAX_PACKETS, self._dissector, _SYNC)
        finally:
            self._unload()
        if flow == ffi.NULL:
            raise MemoryError("nDPI has no memory for another flow")
        return Detection(self, flow)


class Detection:
    """nDPI's work on one flow; `close()` frees what it holds in C."""

    __slots__ = ("_engine", "_flow", "packets")

    def __init__(self, engine: Engine, flow: Any) -> None:
        self._engine = engine
        self._flow = flow
        self.packets = 1

    def feed(self) -> None:
        """The flow's next packet, as loaded."""
        engine = self._engine
        try:
            lib.meter_update_flow(
                self._flow, engine._packet, _NEVER_MS, _NEVER_MS, 0, 0, 0, MAX_PACKETS, engine._dissector, _SYNC
            )
        finally:
            engine._unload()
        self.packets += 1

    @property
    def complete(self) -> bool:
        """True when more packets would tell nothing more."""
        return bool(self._flow.detection_completed)

    def marker(self) -> tuple[int, int, bytes]:
        """Cheap to compare: changes when `finding()` would."""
        found = self._flow.detected_protocol.proto
        return found.master_protocol, found.app_protocol, ffi.string(self._flow.requested_server_name)

    def give_up(self) -> None:
        """Makes nDPI say its best guess."""
        if not self._flow.detection_completed:
            lib.meter_expire_flow(self._flow, MAX_PACKETS, self._engine._dissector)

    def finding(self) -> Finding:
        """What is known so far."""
        flow = self._flow
        found = flow.detected_protocol.proto
        name, _, application = _text(flow.application_name).partition(".")
        ids = (found.master_protocol, found.app_protocol) if application else (found.app_protocol, 0)
        return Finding(
            protocol=name or "Unknown",
            protocol_id=ids[0],
            application=application or "Unknown",
            application_id=ids[1],
            host_name=_text(flow.requested_server_name),
            guessed=bool(flow.guessed),
            details=_details(name, flow),
        )

    def close(self) -> None:
        """Frees nDPI's memory for this flow."""
        if self._flow is not None:
            lib.meter_free_flow(self._flow, MAX_PACKETS, 0, 1)
            self._flow = None


def _text(field_: Any) -> str:
    return ffi.string(field_).decode("utf-8", errors="replace") if field_ else ""


def _details(protocol: str, flow: Any) -> dict[str, dict[str, Any]]:
    inner = flow.ndpi_flow
    if inner == ffi.NULL:
        return {}
    said: dict[str, Any]
    if protocol in ("TLS", "QUIC", "DTLS"):
        tls = inner.protos.tls_quic
        said = {"cipher_suite": f"0x{tls.server_cipher:04x}", "version": f"0x{tls.ssl_version:04x}"}
        said |= _present(client_sni=_text(flow.requested_server_name), server_ja3=_text(tls.ja3_server))
        for key, names in (("alpn", tls.advertised_alpns), ("alpn_server", tls.negotiated_alpn)):
            if names:
                said[key] = _text(names).split(",")
        return {"ssl": said}
    if protocol == "HTTP":
        return {"http": _present(url=_text(inner.http.url), user_agent=_text(inner.http.user_agent))}
    if protocol == "SSH":
        ssh = inner.protos.ssh
        return {"ssh": _present(client=_text(ssh.client_signature), server=_text(ssh.server_signature))}
    if protocol == "DHCP":
        dhcp = inner.protos.dhcp
        return {"dhcp": _present(fingerprint=_text(dhcp.fingerprint), class_ident=_text(dhcp.class_ident))}
    return {}


def _present(**values: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value}
