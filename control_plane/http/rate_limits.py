"""Limits on how often: a project's reads and writes, and an address's failed logins.

Counted in windows of a fixed length, in memory or where COFFRET_RATE_STORAGE says
(https://limits.readthedocs.io/en/stable/storage.html).
"""

import logging
import math
import threading
import time
from typing import cast

from limits import RateLimitItem, parse
from limits.errors import ConfigurationError, StorageError
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from control_plane.errors import RateLimited
from control_plane.settings import Settings, SettingsError

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that only read (RFC 9110 §9.2.1)."""

log = logging.getLogger(__name__)


class RateLimits:
    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError for a limit or a storage that cannot be used."""
        self._reads = _limit("RATE_READS", settings.rate_reads)
        self._writes = _limit("RATE_WRITES", settings.rate_writes)
        self._logins = _limit("RATE_FAILED_LOGINS", settings.rate_failed_logins)
        try:
            storage = _open(settings.rate_storage)
        except (ConfigurationError, ValueError, ImportError) as error:
            # the URL may hold a password, and so may what the library says of it
            raise SettingsError(
                "COFFRET_RATE_STORAGE is not a storage that can be used, such as memory:// or"
                f" valkey://host:6379 with the library for it installed ({type(error).__name__})."
            ) from error
        self._limiter = FixedWindowRateLimiter(storage)

    def request(self, project_id: str, method: str) -> None:
        """Count a request of a project. Raises RateLimited past its limit."""
        kind, limit = ("reads", self._reads) if method in SAFE else ("writes", self._writes)
        if limit is not None and not self._hit(limit, kind, project_id):
            raise self._refusal(limit, f"The project may send {limit.amount} {kind}", kind, project_id)

    def failed_login(self, address: str) -> None:
        """Count a request that was refused with 401. Raises RateLimited past the address's limit."""
        if self._logins is not None and not self._hit(self._logins, "logins", address):
            raise self._too_many_logins(self._logins, address)

    def ensure_may_log_in(self, address: str) -> None:
        """Raise RateLimited if the address has failed too often; for what is dear to check."""
        if self._logins is not None and not self._is_left(self._logins, "logins", address):
            raise self._too_many_logins(self._logins, address)

    def _too_many_logins(self, limit: RateLimitItem, address: str) -> RateLimited:
        return self._refusal(
            limit, f"Your address may fail to log in {limit.amount} times", "logins", address
        )

    def _hit(self, limit: RateLimitItem, *key: str) -> bool:
        try:
            return self._limiter.hit(limit, *key)
        except StorageError as error:
            return self._let_through(error)

    def _is_left(self, limit: RateLimitItem, *key: str) -> bool:
        try:
            return self._limiter.test(limit, *key)
        except StorageError as error:
            return self._let_through(error)

    def _let_through(self, error: StorageError) -> bool:
        log.error("requests are not counted: %s", type(error.storage_error).__name__)
        return True

    def _refusal(self, limit: RateLimitItem, what: str, *key: str) -> RateLimited:
        try:
            reset = self._limiter.get_window_stats(limit, *key).reset_time
        except StorageError:
            reset = time.time() + limit.get_expiry()
        seconds = max(1, math.ceil(reset - time.time()))
        every = (
            f"{limit.multiples} {limit.GRANULARITY.name}s"
            if limit.multiples > 1
            else limit.GRANULARITY.name
        )
        return RateLimited(f"{what} in a {every}; go on in {seconds} s.", retry_after=seconds)


class _Idle(threading.Timer):
    """Taken for one that runs, so that no thread is started."""

    def is_alive(self) -> bool:
        return True


class InMemory(MemoryStorage):
    """The library's, without the thread that it starts every few requests to forget what is over.

    A sixth of a request's time goes into that. It forgets all when it has too much instead.
    """

    MOST = 20_000
    """Projects and addresses that are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.timer.cancel()
        self.timer = _Idle(0, lambda: None)

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        if len(self.storage) > self.MOST:
            self.reset()
        return super().incr(key, expiry, amount)


def _open(url: str) -> Storage:
    if url == "memory://":
        return InMemory()
    return cast(Storage, storage_from_string(url, wrap_exceptions=True))


def _limit(name: str, text: str) -> RateLimitItem | None:
    if not text:
        return None
    try:
        return parse(text)
    except ValueError as error:
        raise SettingsError(
            f"COFFRET_{name}={text!r} is not a limit such as 6000/minute; empty is no limit."
        ) from error
