"""A figure: what was measured, its floor, and whether that is good enough."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Figure:
    name: str
    value: float
    unit: str
    floor: float | None
    """The same without Coffret, in the same unit; None where nothing else does it."""
    met: bool
    target: str

    def __str__(self) -> str:
        measured = f"bench: {self.name} {self.value:.4g} {self.unit}"
        if self.floor is None:
            return measured
        return f"{measured} floor={self.floor:.4g} ratio={self.value / self.floor:.2f}"


def show(figure: Figure) -> bool:
    """Print it, and what its target is if it misses it. Returns whether it meets it."""
    sys.stdout.write(f"{figure}\n")
    sys.stdout.flush()
    if not figure.met:
        sys.stderr.write(f"{figure.name} misses its target: {figure.target}.\n")
    return figure.met


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


def run(measures: Mapping[str, Callable[[], Figure | Sequence[Figure]]], names: Sequence[str]) -> int:
    """Measure and show what is named, or all. Returns the exit code: 1 when a target is missed."""
    if unknown := set(names) - set(measures):
        sys.stderr.write(f"There is no figure {min(unknown)!r}; known: {', '.join(measures)}.\n")
        return 2
    met = [show(figure) for name in names or measures for figure in _figures(measures[name]())]
    return 0 if all(met) else 1


def _figures(measured: Figure | Sequence[Figure]) -> Sequence[Figure]:
    return [measured] if isinstance(measured, Figure) else measured
