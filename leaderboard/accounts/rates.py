"""Rate limits: token buckets in memory, for a bounded number of keys.

Each web process counts for itself. Of the attempts at a secret each of them allows its share; the
other limits are multiplied by the number of processes.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

from leaderboard.api.problems import Problem
from leaderboard.settings import Settings

KEPT = 20_000  # buckets; the one not asked for longest goes first


class Buckets:
    """`burst` at once, then `per_second`."""

    def __init__(
        self, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.per_second, self.burst, self.clock = per_second, burst, clock
        self.levels: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, when
        self.lock = threading.Lock()

    def take(self, key: str, cost: float = 1.0) -> float:
        """0 where it may go on, else the seconds to wait; a negative cost gives some back."""
        with self.lock:
            now = self.clock()
            level, when = self.levels.pop(key, (self.burst, now))
            level = min(self.burst, level + (now - when) * self.per_second - min(cost, 0.0))
            cost = max(cost, 0.0)
            wait = 0.0 if level >= cost else (cost - level) / self.per_second
            self.levels[key] = (level - cost if not wait else level, now)
            while len(self.levels) > KEPT:
                self.levels.popitem(last=False)
            return wait


class Rates:
    """The limits of one web process."""

    def __init__(self, settings: Settings) -> None:
        self.requests = Buckets(settings.requests_per_minute / 60, settings.requests_per_minute)
        self.checks = Buckets(settings.checks_per_hour / 3600, settings.checks_per_hour)
        share = max(1.0, settings.attempts_per_hour / settings.processes)
        self.attempts = Buckets(share / 3600, share)

    def count_request(self, who: str) -> None:
        """Raises: Problem (429) where `who` asks too often."""
        _refuse(self.requests.take(who))

    def count_check(self, who: str) -> None:
        """Raises: Problem (429) where `who` has had too many files checked."""
        _refuse(self.checks.take(who))

    def count_attempt(self, *keys: str) -> None:
        """Count an attempt at a secret.

        Raises:
            Problem: 429, too many from there.
        """
        _refuse(max(self.attempts.take(key) for key in keys))

    def forgive(self, *keys: str) -> None:
        """The attempt counted last was right."""
        for key in keys:
            self.attempts.take(key, -1.0)

    def check_attempts(self, *keys: str) -> None:
        """Raises: Problem (429) where there were too many attempts; counts none."""
        if any(self.attempts.take(key, 0.0) or self._spent(key) for key in keys):
            _refuse(3600 / max(self.attempts.burst, 1))

    def _spent(self, key: str) -> bool:
        return self.attempts.levels.get(key, (1.0, 0.0))[0] < 1.0


def _refuse(wait: float) -> None:
    if wait:
        seconds = max(1, round(wait + 0.5))
        raise Problem(
            429,
            f"too many requests: wait {seconds} seconds",
            headers={"Retry-After": str(seconds)},
        )


def address_key(address: str) -> str:
    """The address that is counted: of IPv6 the /64, which one person has as a whole."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address or "unknown"
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(IPv6Address(int(parsed) >> 64 << 64)) + "/64"
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)
