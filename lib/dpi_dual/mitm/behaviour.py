"""What a client does over time: too many requests, searching for holes, guessing passwords. Bounded memory."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

MAX_CLIENTS = 10_000

#: A page with its pictures is some 100 requests; nobody opens four such pages a second for long.
RATE_REQUESTS, RATE_WINDOW_S = 400, 10.0
#: How long a client over the rate is refused, where blocking is on.
LIMIT_S = 30.0
#: A browser meets a dead link now and then; a scanner meets little else.
MISSES, MISS_WINDOW_S = 20, 60.0
SWEEP_MISSES, SWEEP_PLACES = 12, 10
CATEGORIES, CATEGORY_WINDOW_S = 3, 300.0
FAILURES, FAILURE_WINDOW_S = 10, 60.0
FAILURE_PATHS = 32

#: The same finding about the same client is told again so much later; or earlier when it goes on, at half as many more
#: as it took to be told, then at twice as many each time: who guesses fast need not be waited for.
AGAIN_S = 60.0

SCORES = {"scanner": 60, "brute_force": 60, "rate_limit": 40}


@dataclass(frozen=True, slots=True)
class Finding:
    """`kind` is scanner, brute_force or rate_limit; `rule` says by what it was recognised."""

    kind: str
    rule: str
    count: int

    @property
    def score(self) -> int:
        return SCORES[self.kind]


@dataclass(slots=True)
class _Told:
    """A finding that has been told: until when it is not told again, unless `more` come first."""

    until: float
    more: int
    since: int = 0


@dataclass(slots=True)
class _Client:
    window_at: float = 0.0
    count: int = 0
    before: int = 0
    misses: OrderedDict[str, float] = field(default_factory=OrderedDict)
    """Path that was not there → when."""
    categories: dict[str, float] = field(default_factory=dict)
    failures: OrderedDict[tuple[str, str], deque[float]] = field(default_factory=OrderedDict)
    told: dict[str, _Told] = field(default_factory=dict)


class Behaviour:
    """One for all clients; the one not heard of for longest is forgotten first."""

    def __init__(self, max_clients: int = MAX_CLIENTS) -> None:
        self._clients: OrderedDict[str, _Client] = OrderedDict()
        self._max = max_clients
        self._forgotten = 0

    def counters(self) -> dict[str, int]:
        return {"behaviour_clients_forgotten": self._forgotten}

    def _client(self, ip: str) -> _Client:
        client = self._clients.get(ip)
        if client is None:
            if len(self._clients) >= self._max:
                self._clients.popitem(last=False)
                self._forgotten += 1
            client = self._clients[ip] = _Client()
        else:
            self._clients.move_to_end(ip)
        return client

    def _once(self, client: _Client, finding: Finding, now: float, scope: str = "", enough: int = 0) -> list[Finding]:
        """The finding, unless it was told a moment ago; `enough` is how many it takes, 0 if only time counts."""
        key = finding.rule + scope
        told = client.told.get(key)
        if told is not None and told.until > now:
            told.since += 1
            if not enough or told.since < told.more:
                return []
            told.since, told.more = 0, told.more * 2
            return [finding]
        if len(client.told) > 64:
            client.told = {name: told for name, told in client.told.items() if told.until > now}
        client.told[key] = _Told(now + AGAIN_S, enough // 2)
        return [finding]

    def request(self, ip: str, now: float) -> list[Finding]:
        """Counts a request; two buckets make a window that slides."""
        client = self._client(ip)
        passed = now - client.window_at
        if passed >= RATE_WINDOW_S or passed < 0:
            client.before = client.count if 0 <= passed < 2 * RATE_WINDOW_S else 0
            client.count = 0
            client.window_at = now
            passed = 0.0
        client.count += 1
        rate = client.count + client.before * (1 - passed / RATE_WINDOW_S)
        if rate <= RATE_REQUESTS:
            return []
        return self._once(client, Finding("rate_limit", "behaviour-rate", int(rate)), now)

    def response(self, ip: str, host: str, path: str, status: int, now: float) -> list[Finding]:
        """Looks at how a request was answered by its origin."""
        if status == 404:
            return self._missed(self._client(ip), path, now)
        if status in (401, 403):
            return self._refused(self._client(ip), host, path, now)
        return []

    def _missed(self, client: _Client, path: str, now: float) -> list[Finding]:
        misses = client.misses
        known = path[:200] in misses
        misses[path[:200]] = now
        misses.move_to_end(path[:200])
        while len(misses) > 4 * MISSES or next(iter(misses.values())) < now - MISS_WINDOW_S:
            misses.popitem(last=False)
        if known:  # the same dead links once more: a page that is loaded again, no search
            return []
        if len(misses) >= MISSES:
            return self._once(client, Finding("scanner", "behaviour-not-found", len(misses)), now, enough=MISSES)
        if len(misses) >= SWEEP_MISSES:
            places = {path.split("/", 2)[1] if path.startswith("/") else path for path in misses}
            if len(places) >= SWEEP_PLACES:
                finding = Finding("scanner", "behaviour-path-sweep", len(places))
                return self._once(client, finding, now, enough=SWEEP_MISSES)
        return []

    def _refused(self, client: _Client, host: str, path: str, now: float) -> list[Finding]:
        key = (host, path[:200])
        times = client.failures.get(key)
        if times is None:
            if len(client.failures) >= FAILURE_PATHS:
                client.failures.popitem(last=False)
            times = client.failures[key] = deque(maxlen=FAILURES)
        times.append(now)
        if len(times) < FAILURES or times[0] < now - FAILURE_WINDOW_S:
            return []
        finding = Finding("brute_force", "behaviour-login-failures", len(times))
        return self._once(client, finding, now, path[:200], FAILURES)

    def attacked(self, ip: str, categories: tuple[str, ...], now: float) -> list[Finding]:
        """A request of this client was an attack; who tries everything is a scanner, whatever it calls itself."""
        client = self._client(ip)
        # The gravest of each only: one path traversal is an lfi as well, and that is no searching around.
        client.categories.update(dict.fromkeys(categories[:1], now))
        recent = {name: at for name, at in client.categories.items() if at >= now - CATEGORY_WINDOW_S}
        client.categories = recent
        kinds = recent.keys() - {"scanner", "rate_limit", "anomaly", "protocol"}
        if len(kinds) < CATEGORIES:
            return []
        return self._once(client, Finding("scanner", "behaviour-many-categories", len(kinds)), now)
