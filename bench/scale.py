"""`make bench-scale`: figures of many processes and instances, one line each, as `make bench` has them.

Exit code 1 when a target is missed. Names on the command line choose what is measured.
"""

import sys
from collections.abc import Callable, Sequence

from bench import agents, api_mixed, reconcile_throughput, sweep_cost
from bench.figure import Figure, show

MEASURED: dict[str, Callable[[], Sequence[Figure]]] = {
    "agents": agents.measure,
    "reconcile": reconcile_throughput.measure,
    "mixed": api_mixed.measure,
    "sweep": sweep_cost.measure,
}


def main(names: list[str]) -> int:
    if unknown := set(names) - set(MEASURED):
        sys.stderr.write(f"There is no figure {min(unknown)!r}; known: {', '.join(MEASURED)}.\n")
        return 2
    met = [show(figure) for name in names or MEASURED for figure in MEASURED[name]()]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
