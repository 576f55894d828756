"""When agents come again that are not parked: so spread that all together they are well served."""

import math
import random
import time

from sqlalchemy import func, select

from control_plane.agents.models import Agent
from control_plane.database import read

CONVERGING = 2
"""Seconds for an agent that is at work."""
POLLS_PER_SECOND = 40
"""Of agents with nothing to do, all together, as far as STEADY allows."""
STEADY = (5.0, 30.0)
"""Seconds, least and most: an agent that is not heard of for a minute is taken for lost."""
RETURNS_PER_SECOND = 200
"""Of agents that all were sent away at once."""
LONGEST_RETURN = 45.0
"""Seconds, likewise."""
_COUNTED_EVERY = 30.0
_COUNT = select(func.count()).select_from(Agent.__table__)


class Spacing:
    """Pauses in whole seconds, as Retry-After has them, each shortened at random."""

    def __init__(self) -> None:
        self._count = 0
        self._counted = -math.inf

    def steady(self) -> int:
        """Until an agent that has nothing to do, and cannot be parked, asks again."""
        if time.monotonic() - self._counted > _COUNTED_EVERY:
            self._counted = time.monotonic()
            self._count = read(_COUNT)[0][0]
        least, most = STEADY
        pause = min(most, max(least, self._count / POLLS_PER_SECOND))
        return math.ceil(pause * random.uniform(0.75, 1))  # noqa: S311 - jitter

    def crowded(self) -> int:
        """For each of more agents than can be heard, however many they are."""
        return math.ceil(random.uniform(0, LONGEST_RETURN))  # noqa: S311 - jitter

    def scattered(self, agents: int) -> int:
        """For each of so many agents that are let go in one moment."""
        longest = min(LONGEST_RETURN, agents / RETURNS_PER_SECOND)
        return math.floor(random.uniform(0, longest))  # noqa: S311 - jitter
