"""The log on standard error: one line a message, plain or JSON, with the ids of what it is about.

The control plane writes its own in these two forms, too.
"""

import json
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

log = logging.getLogger(__name__)


class PlainFormatter(logging.Formatter):
    """Time, level, logger, ids and message."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s%(ids)s: %(message)s", "%Y-%m-%dT%H:%M:%S"
        )


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the ids that are known, and an exception."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        said = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        } | record.about  # type: ignore[attr-defined]
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False, default=str)


FORMATTERS = {"plain": PlainFormatter, "json": JsonFormatter}


class Ids(logging.Filter, ABC):
    """Puts into each record what it is about; both formatters need that."""

    @abstractmethod
    def known(self) -> Mapping[str, str]:
        """The ids by their names, as far as they are known where the record is written."""

    def filter(self, record: logging.LogRecord) -> bool:
        known = self.known()
        record.about = {**known, **getattr(record, "about", {})}
        record.ids = "".join(f" {known[name]}" for name in ("request_id", "instance_id") if name in known)
        return True


class _OfAgent(Ids):
    def __init__(self, instance_id: str) -> None:
        super().__init__()
        self._instance_id = instance_id

    def known(self) -> Mapping[str, str]:
        request_id = _request_id.get()
        asked = {} if request_id is None else {"request_id": request_id}
        return asked | {"instance_id": self._instance_id}


@contextmanager
def done_for(request_id: str | None) -> Iterator[None]:
    """What this thread writes until the end is done for that request of a client; None: for nobody's."""
    before = _request_id.set(request_id)
    try:
        yield
    finally:
        _request_id.reset(before)


def log_to_stderr(instance_id: str, form: str) -> None:
    """Write what the agent of this instance does, and what libraries warn of."""
    handler = logging.StreamHandler()
    handler.setFormatter(FORMATTERS.get(form, PlainFormatter)())
    handler.addFilter(_OfAgent(instance_id))
    logging.getLogger().addHandler(handler)
    logging.getLogger("guest_agent").setLevel(logging.INFO)
    if form not in FORMATTERS:
        log.warning("log_format %r is none of %s; going on with plain", form, ", ".join(FORMATTERS))
