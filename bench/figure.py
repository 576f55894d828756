"""A figure: what was measured, its floor, and whether that is good enough."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Figure:
    name: str
    value: float
    unit: str
    floor: float
    """The same without Coffret, in the same unit."""
    met: bool
    target: str

    @property
    def ratio(self) -> float:
        return self.value / self.floor

    def __str__(self) -> str:
        return (
            f"bench: {self.name} {self.value:.4g} {self.unit} floor={self.floor:.4g} ratio={self.ratio:.2f}"
        )


def in_turns(rounds: int, measured: Callable[[], float], floor: Callable[[], float]) -> tuple[float, float]:
    """Medians of both, measured in turns; whoever begins changes each round."""
    values: list[float] = []
    floors: list[float] = []
    for number in range(rounds):
        turns = [(measured, values), (floor, floors)]
        for measure, results in turns if number % 2 else reversed(turns):
            results.append(measure())
        sys.stderr.write(f"  round {number + 1} of {rounds}: {values[-1]:.4g}, floor {floors[-1]:.4g}\n")
    return median(values), median(floors)
