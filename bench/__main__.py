"""One line a figure; exit code 1 when a target is missed. Names on the command line choose figures."""

import sys
from collections.abc import Callable, Sequence

from bench import api, create_database, create_postgresql, plan_noop
from bench.figure import Figure, run

FIGURES: dict[str, Callable[[], Figure | Sequence[Figure]]] = {
    "create.postgresql": create_postgresql.measure,
    "create.database": create_database.measure,
    "api.list": api.measure_list,
    "api.get": api.measure_get,
    "plan.noop": plan_noop.measure,
}

if __name__ == "__main__":
    sys.exit(run(FIGURES, sys.argv[1:]))
