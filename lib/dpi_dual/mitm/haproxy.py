"""Renders HAProxy's configuration from the settings: TLS, backends by Host, a health check on mitmproxy, fail open.

For HAProxy 2.6 and later. What comes from UCI is written only after it passed a check of our own here: whatever
the loader let through, nothing can end a line, a word or a quotation of HAProxy's grammar.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass

from dpi_dual import paths
from dpi_dual.mitm.client import HEALTH_PATH, PORT_HEADER
from dpi_dual.settings import Backend, Settings

#: The first line of every file that is ours.
MARKER = "# Written by 'dpi-dualctl haproxy apply' from /etc/config/dpi-dual; changes here are lost."

#: Sockets of HAProxy: what `haproxy_state` asks, and its ways to itself: to the inspection, and around mitmproxy.
#: Not inside the run directory: HAProxy may start before the engine has made that.
STATE_SOCKET = paths.RUN_DIR + "-haproxy.sock"
INSPECT_SOCKET = paths.RUN_DIR + "-inspect.sock"
BYPASS_SOCKET = paths.RUN_DIR + "-bypass.sock"

#: The backend of all inspected requests, its server, and the server beside it that passes mitmproxy by.
INSPECT, MITM, BYPASS = "dpi-dual-inspect", "mitm", "bypass"
#: Where the services are published, the backend that sends a request again, and where it goes then.
FRONTEND, AGAIN, INSPECT_FRONTEND = "dpi-dual-https", "dpi-dual-services", "dpi-dual-inspection"
BYPASS_FRONTEND, UNKNOWN = "dpi-dual-bypass", "dpi-dual-unknown-host"

#: Connections of clients at a time. Each may cost some 100 KiB with TLS, and is a request that mitmproxy holds.
MAX_CONNECTIONS = 1000
#: A client's connection may stand behind one to the inspection, and that behind one past mitmproxy.
FRONTENDS = 3
MAX_HEADERS = 100

#: What HAProxy and the addon tell each other; never from a client, never to an origin.
OWN_HEADERS = "X-DPI-"

_HOST_OF_REQUEST = "req.hdr(host),host_only,lower,rtrim(.)"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_HOST = re.compile(r"(?:\*\.)?[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63}){0,126}\.?")
_PORT = re.compile(r"[0-9]{1,5}")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_.-]")


class HaproxyError(ValueError):
    """A configuration that cannot be rendered; `str()` names the option and what is wrong with it."""

    def __init__(self, option: str, why: str) -> None:
        super().__init__(f"dpi-dual.{option}: {why}")
        self.option = option


@dataclass(frozen=True, slots=True)
class Host:
    """What the machine that HAProxy runs on offers."""

    user: str = "nobody"
    """Whom HAProxy becomes once it listens; empty: it stays who it is."""
    group: str = "nogroup"
    ipv6: bool = True
    """False where the kernel has no IPv6: HAProxy does not start when it cannot listen everywhere it is told to."""
    state_socket: str = STATE_SOCKET
    inspect_socket: str = INSPECT_SOCKET
    bypass_socket: str = BYPASS_SOCKET


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`host` is an address, a name, or empty for every address."""

    host: str
    port: int

    def text(self) -> str:
        """As HAProxy reads it; the family in front, so that the last colon is the port's without doubt."""
        try:
            version = ipaddress.ip_address(self.host).version
        except ValueError:
            return f"{self.host}:{self.port}"
        return f"ipv{version}@{self.host}:{self.port}"


def shown(value: str) -> str:
    """A value in a message: short, and harmless on a terminal."""
    plain = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in value[:60])
    return f"'{plain}…'" if len(value) > 60 else f"'{plain}'"


def quoted(text: str, option: str) -> str:
    """`text` as one word: in strong quotes nothing has a meaning (HAProxy manual, 2.2). HaproxyError for a line end."""
    if not text.isprintable() and any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise HaproxyError(option, f"{shown(text)} has characters that a configuration file cannot hold")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise HaproxyError(option, f"{shown(text)} is not text") from None
    return "'" + text.replace("'", "'\\''") + "'"


def endpoint(text: str, option: str) -> Endpoint:
    """`address:port`, `[v6]:port`, `name:port` or `:port`; HaproxyError for anything else."""
    host, colon, port = text.rpartition(":")
    if not colon or not _PORT.fullmatch(port) or not 1 <= int(port) <= 65535:
        raise HaproxyError(option, f"{shown(text)} is not address:port")
    if not host:
        return Endpoint("", int(port))
    bracketed = host.startswith("[") and host.endswith("]")
    plain = host[1:-1] if bracketed else host
    if "%" in plain:
        raise HaproxyError(option, f"{shown(text)} names an interface, which HAProxy does not take in an address")
    if bracketed or re.fullmatch(r"[0-9.]+", plain):
        try:
            address = ipaddress.ip_address(plain)
        except ValueError:
            raise HaproxyError(option, f"{shown(text)} is not address:port") from None
        if bracketed == (address.version == 6):
            return Endpoint(str(address), int(port))
    elif _HOST.fullmatch(plain) and not plain.startswith("*") and len(plain) <= 253:
        return Endpoint(plain, int(port))
    raise HaproxyError(option, f"{shown(text)} is not address:port")


def _listen(bind: Endpoint, host: Host) -> list[str]:
    if bind.host:
        return [bind.text()]
    return [f"ipv4@:{bind.port}", *([f"ipv6@:::{bind.port} v6only"] if host.ipv6 else [])]


def _towards(listen: Endpoint) -> Endpoint:
    """Where to reach what listens there."""
    if listen.host in ("", "0.0.0.0"):  # noqa: S104 - compared, not listened on
        return Endpoint("127.0.0.1", listen.port)
    return Endpoint("::1", listen.port) if listen.host == "::" else listen


def _label(backend: Backend, number: int) -> str:
    return backend.section or f"@backend[{number}]"


def names(backends: tuple[Backend, ...]) -> list[str]:
    """A name in HAProxy for each backend: its own if HAProxy takes it, else the nearest; no two the same."""
    taken = {FRONTEND, AGAIN, INSPECT_FRONTEND, INSPECT, BYPASS_FRONTEND, UNKNOWN}
    found = []
    for number, backend in enumerate(backends):
        wanted = _NOT_IN_A_NAME.sub("_", backend.name or backend.section or f"backend{number}")[:56]
        name, again = wanted, 1
        while name in taken:
            again += 1
            name = f"{wanted}-{again}"
        taken.add(name)
        found.append(name)
    return found


@dataclass(frozen=True, slots=True)
class _Service:
    """A backend section, checked."""

    name: str
    host: str
    origin: Endpoint
    tls: bool

    def condition(self) -> str:
        """The ACL expression for this service's Host."""
        if self.host.startswith("*."):
            return f"var(txn.host) -m end {self.host[1:]}"
        return f"var(txn.host) -m str {self.host}"


def _services(backends: tuple[Backend, ...]) -> list[_Service]:
    services = []
    seen: dict[str, str] = {}
    for number, (backend, name) in enumerate(zip(backends, names(backends), strict=True)):
        label = _label(backend, number)
        host = backend.host.lower().removesuffix(".")
        if ":" in host and "*" not in host:
            # As a client writes it in the Host header (RFC 3986, 3.2.2).
            host = f"[{endpoint(f'[{host}]:1', f'{label}.host').host}]"
        elif not _HOST.fullmatch(host) or len(host) > 253:
            raise HaproxyError(f"{label}.host", f"{shown(backend.host)} is not a host name")
        if host in seen:
            raise HaproxyError(f"{label}.host", f"{shown(host)} is the host of {seen[host]} already")
        seen[host] = label
        scheme, address = "http", backend.address
        if "://" in address:
            scheme, _, address = address.partition("://")
        origin = endpoint(address, f"{label}.address")
        if scheme not in ("http", "https") or not origin.host:
            raise HaproxyError(f"{label}.address", f"{shown(backend.address)} is not address:port")
        services.append(_Service(name, host, origin, scheme == "https"))
    # HAProxy takes the first rule that fits: exact hosts before wildcards, long wildcards before short ones.
    return sorted(services, key=lambda service: (service.host.startswith("*"), -len(service.host)))


def render(settings: Settings, host: Host) -> str:
    """The whole configuration file; HaproxyError names what stands in the way."""
    if not settings.backend:
        raise HaproxyError("backend", "no section of this type: add one with host and address for each service")
    if not settings.haproxy.certificate:
        raise HaproxyError("haproxy.certificate", "empty: set it to a PEM file with certificate and key")
    services = _services(settings.backend)
    mitm = _towards(endpoint(settings.mitm.listen, "mitm.listen"))
    lines = [MARKER, "", *_global(host), "", *_defaults()]
    if any(_is_name(where) for where in (mitm, *(service.origin for service in services))):
        lines += ["", *_resolvers()]
    fail_open = settings.haproxy.fail_open
    lines += ["", *_frontend(settings, host, services), "", *_again(host)]
    lines += ["", *_inspect(mitm, host, fail_open), "", *_unknown()]
    if fail_open:
        lines += ["", *_bypass(services, host)]
        for service in services:
            lines += ["", *_origin(service)]
    return "\n".join(lines) + "\n"


def _global(host: Host) -> Iterator[str]:
    yield "global"
    if host.user:
        for keyword, name in (("user", host.user), ("group", host.group)):
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r:.80} is not the name of a {keyword}")
            yield f"    {keyword} {name}"
    yield f"    maxconn {FRONTENDS * MAX_CONNECTIONS}"
    yield f"    tune.http.maxhdr {MAX_HEADERS}"
    yield "    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets"
    # State changes only: no line for each request.
    yield "    log /dev/log daemon notice"
    # For root alone, and it can only be asked: `user` is the level below `operator` and `admin`.
    yield f"    stats socket {quoted('unix@' + host.state_socket, 'run_dir')} mode 600 level user"
    yield "    stats timeout 10s"


def _defaults() -> Iterator[str]:
    yield "defaults"
    yield "    mode http"
    yield "    log global"
    yield "    option dontlognull"
    yield "    timeout connect 2s"
    yield "    timeout http-request 10s"
    yield "    timeout http-keep-alive 30s"
    yield "    timeout queue 10s"
    # Long polls and event streams are silent for minutes; a hanging mitmproxy is noticed by the health check.
    yield "    timeout client 5m"
    yield "    timeout server 5m"
    yield "    timeout client-fin 10s"
    yield "    timeout tunnel 1h"
    yield "    retries 3"


def _is_name(where: Endpoint) -> bool:
    """True for a name that only DNS can resolve."""
    return ":" not in where.host and not re.fullmatch(r"[0-9.]+", where.host) and where.host != "localhost"


def _resolvers() -> Iterator[str]:
    yield "resolvers dpi-dual-dns"
    yield "    parse-resolv-conf"
    # A name that stops resolving keeps the address it had.
    for state in ("nx", "other", "refused", "timeout", "obsolete"):
        yield f"    hold {state} 20d"


def _resolved(where: Endpoint) -> list[str]:
    """Options for a server that is known by name: one that does not resolve yet must not keep the others down."""
    return ["init-addr libc,none", "resolvers dpi-dual-dns", "resolve-prefer ipv4"] if _is_name(where) else []


def _server(name: str, where: str, *options: str) -> str:
    return " ".join((f"    server {name}", where, *options))


def _frontend(settings: Settings, host: Host, services: list[_Service]) -> Iterator[str]:
    yield f"frontend {FRONTEND}"
    certificate = quoted(settings.haproxy.certificate, "haproxy.certificate")
    for where in _listen(endpoint(settings.haproxy.bind, "haproxy.bind"), host):
        yield f"    bind {where} ssl crt {certificate} alpn h2,http/1.1"
    yield f"    maxconn {MAX_CONNECTIONS}"
    yield f"    http-request set-var(txn.host) {_HOST_OF_REQUEST}"
    # mitmproxy's own path is ours alone, however it is spelt; a tunnel would pass the inspection by.
    own = HEALTH_PATH.rpartition("/")[0]
    yield f"    http-request return status 404 if {{ path,url_dec -m sub -i {own} }}"
    yield "    http-request return status 405 if METH_CONNECT or METH_TRACE"
    yield "    http-request del-header Upgrade if !{ req.hdr(Upgrade) -m str -i websocket }"
    yield "    http-request del-header HTTP2-Settings"
    # What clients claim about themselves goes; what is seen here comes in its place.
    yield "    http-request del-header X-Forwarded- -m beg"
    yield f"    http-request del-header {OWN_HEADERS} -m beg"
    yield "    http-request del-header Forwarded"
    yield "    http-request del-header X-Real-IP"
    yield "    option forwardfor"
    yield "    http-request set-header X-Forwarded-Proto https"
    yield f"    http-request set-header {PORT_HEADER} %[src_port]"
    for service in services:
        yield f"    use_backend {AGAIN} if {{ {service.condition()} }}"
    yield f"    default_backend {UNKNOWN}"


def _again(host: Host) -> Iterator[str]:
    yield "# A request that mitmproxy left without an answer comes back here, and goes round mitmproxy the second time."
    yield f"backend {AGAIN}"
    # Not in the backend of mitmproxy itself: there HAProxy 3 does not send again what `shutdown-sessions` ended.
    # Not after an answer, even an error; nor when it could do twice what it does (RFC 9110, 9.2.2).
    yield "    retry-on empty-response junk-response"
    yield "    http-request disable-l7-retry unless METH_GET or METH_HEAD or METH_OPTIONS"
    yield _server("inspection", quoted("unix@" + host.inspect_socket, "run_dir"))
    yield ""
    yield f"frontend {INSPECT_FRONTEND}"
    yield _own_bind(host, host.inspect_socket)
    yield f"    default_backend {INSPECT}"


def _own_bind(host: Host, path: str) -> str:
    """A socket on which HAProxy listens for itself alone."""
    owner = f" user {host.user}" if host.user else ""
    return f"    bind {quoted('unix@' + path, 'run_dir')} mode 600{owner}"


def _inspect(mitm: Endpoint, host: Host, fail_open: bool) -> Iterator[str]:
    yield "# One backend for all services, so that one health check does for all of them."
    yield f"backend {INSPECT}"
    yield "    option httpchk"
    yield f"    http-check send meth GET uri {HEALTH_PATH} ver HTTP/1.1 hdr Host localhost"
    yield "    http-check expect status 200"
    # Short enough to notice a hanging mitmproxy; long enough that a busy one, which answers in turn, stays in place:
    # at 300 ms a hundred clients at once make mitmproxy seem down, and most of their requests pass it by. Nor would a
    # `maxconn` on the server help: its queue does not go over to a backup server (seen in 2.6).
    yield "    timeout check 1s"
    yield "    option redispatch 1"
    # No answer instead of one of HAProxy's own, so that the request is sent again (an empty file: manual, errorfile).
    yield "    errorfile 502 /dev/null"
    check = "check inter 500ms fastinter 100ms fall 2 rise 1"
    observe = "observe layer4 error-limit 1 on-error mark-down on-marked-down shutdown-sessions"
    yield _server(MITM, mitm.text(), check, observe, *_resolved(mitm))
    if fail_open:
        # No check: a service that is down must not take the way to the others away.
        yield _server(BYPASS, quoted("unix@" + host.bypass_socket, "run_dir"), "backup no-check")


def _unknown() -> Iterator[str]:
    yield f"backend {UNKNOWN}"
    # RFC 9110, 15.5.20: no one here speaks for that host.
    yield "    http-request return status 421 content-type text/plain string 'Unknown host'"


def _bypass(services: list[_Service], host: Host) -> Iterator[str]:
    yield "# Fail open: while mitmproxy is down, each service directly and uninspected."
    yield f"frontend {BYPASS_FRONTEND}"
    yield _own_bind(host, host.bypass_socket)
    yield f"    http-request set-var(txn.host) {_HOST_OF_REQUEST}"
    yield f"    http-request del-header {OWN_HEADERS} -m beg"
    for service in services:
        yield f"    use_backend {service.name} if {{ {service.condition()} }}"
    yield f"    default_backend {UNKNOWN}"


def _origin(service: _Service) -> Iterator[str]:
    yield f"backend {service.name}"
    # Services inside rarely have a certificate that anyone vouches for; mitmproxy does not ask for one either.
    tls = ["ssl verify none sni var(txn.host)"] if service.tls else []
    yield _server("origin", service.origin.text(), *tls, *_resolved(service.origin))
