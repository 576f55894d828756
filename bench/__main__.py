"""One line a figure; exit code 1 when a target is missed. Names on the command line choose figures."""

import sys

from bench import api, create_database, create_postgresql, plan_noop

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
    missed = 0
    for name in names or FIGURES:
        figure = FIGURES[name]()
        sys.stdout.write(f"{figure}\n")
        sys.stdout.flush()
        if not figure.met:
            missed += 1
            sys.stderr.write(f"{name} misses its target: {figure.target}.\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
