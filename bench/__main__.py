"""One line a figure; exit code 1 when a target is missed. Names on the command line choose figures."""

import sys
from collections.abc import Callable, Sequence

from bench import api, create_database, create_postgresql, plan_noop
from bench.figure import Figure, show

FIGURES: dict[str, Callable[[], Figure | Sequence[Figure]]] = {
    "create.postgresql": create_postgresql.measure,
    "create.database": create_database.measure,
    "api.list": api.measure_list,
    "api.get": api.measure_get,
    "plan.noop": plan_noop.measure,
}


def main(names: list[str]) -> int:
    if unknown := set(names) - set(FIGURES):
        sys.stderr.write(f"There is no figure {min(unknown)!r}; known: {', '.join(FIGURES)}.\n")
        return 2
    met = [show(figure) for name in names or FIGURES for figure in _figures(FIGURES[name]())]
    return 0 if all(met) else 1


def _figures(measured: Figure | Sequence[Figure]) -> Sequence[Figure]:
    return [measured] if isinstance(measured, Figure) else measured


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
