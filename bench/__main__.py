"""One line a figure; exit code 1 when a target is missed. Names on the command line choose figures."""

import sys

from bench import api, create_database, create_postgresql, plan_noop
from bench.figure import show

FIGURES = {
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
    met = [show(FIGURES[name]()) for name in names or FIGURES]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
