"""`make bench-scale`: figures of many processes and instances, one line each, as `make bench` has them.

Exit code 1 when a target is missed. Names on the command line choose what is measured.
"""

import sys
from collections.abc import Callable, Sequence

from bench import agents, api_mixed, reconcile_throughput, sweep_cost
from bench.figure import Figure, run

MEASURED: dict[str, Callable[[], Sequence[Figure]]] = {
    "agents": agents.measure,
    "reconcile": reconcile_throughput.measure,
    "mixed": api_mixed.measure,
    "sweep": sweep_cost.measure,
}

if __name__ == "__main__":
    sys.exit(run(MEASURED, sys.argv[1:]))
