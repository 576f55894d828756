"""What a write would do to what runs: noted by services, shown by dry runs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, cast

from sqlalchemy.orm import Session

from control_plane.database import db, is_dry_run

Effect = Literal["none", "online", "restart", "resize", "rebuild", "data_loss"]
"""From `none`, only the control plane's records change, and `online`, done while the engine serves."""


@dataclass(frozen=True)
class Impact:
    """What one change does."""

    path: str
    """JSON pointer to the changed field; empty: the resource itself."""
    effect: Effect
    sentence: str
    interruption: float | None = 0.0
    """Estimated seconds without service; None: unknown, or for good."""
    instances: tuple[str, ...] = ()
    """Names, as they are before the change."""


def foresee(impacts: Callable[[], Iterable[Impact]]) -> None:
    """Inside a write transaction: say what it does, for whom it may concern in a dry run."""
    if is_dry_run():
        foreseen().extend(impacts())


def foreseen() -> list[Impact]:
    """What the current dry run has been told."""
    found: list[Impact] = cast(Session, db.session()).info.setdefault("foreseen", [])
    return found


def touches_nothing(sentence: str, path: str = "") -> Impact:
    return Impact(path, "none", sentence)
