"""Bring up and take down a real OpenStack on this machine: README.md says what it is.

tests/testbed up [STAGE ...]     all stages, or these
tests/testbed down [--wipe]      end its processes; --wipe removes its data too
"""

import argparse
import fcntl
import os
import shutil
import sys
import time

import config
import network
import stages
from processes import RUNNING, Failed, end, guest, started

BEGAN = time.monotonic()
# What others need is ended after them.
LAST = ("mariadb", "rabbitmq", "memcached", *stages.CEPH)


def main() -> None:
    arguments = parse()
    if os.geteuid() != 0:
        sys.exit("testbed: it makes network namespaces and runs libvirt: run it as root")
    config.STATE.mkdir(parents=True, exist_ok=True)
    with (config.STATE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one at a time
        try:
            up(arguments.stages) if arguments.command == "up" else down(arguments.wipe)
        except Failed as failure:
            sys.exit(f"testbed: FAILED: {failure}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/testbed")
    commands = parser.add_subparsers(dest="command", required=True)
    names = [stage.__name__ for stage in stages.STAGES]
    commands.add_parser("up").add_argument("stages", nargs="*", metavar="STAGE", help=", ".join(names))
    commands.add_parser("down").add_argument("--wipe", action="store_true", help="remove its data too")
    arguments = parser.parse_args()
    unknown = set(getattr(arguments, "stages", ())) - set(names)
    if unknown:
        parser.error(f"no stage {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    return arguments


def up(wanted: list[str]) -> None:
    config.write()
    end(started(only={RUNNING}))  # a migration goes on after its `up` was killed
    for stage in stages.STAGES:
        if not wanted or stage.__name__ in wanted:
            say(f"{stage.__name__:<9} {(stage.__doc__ or '').splitlines()[0]}")
            stage()
    say(f"up. Its clouds: . {config.STATE}/env")


def down(wipe: bool) -> None:
    say("ending guests and services")
    end(guest)
    end(started(but=LAST))
    say("ending " + ", ".join(LAST))
    end(started())
    if wipe:
        say("removing its networks, guests' definitions and data")
        network.clear()
        stages.forget_guests()
        if stages.CEPH_CONF.is_symlink() and stages.CEPH_CONF.readlink().is_relative_to(config.STATE):
            stages.CEPH_CONF.unlink()
        shutil.rmtree(config.STATE)
    say("down")


def say(text: str) -> None:
    sys.stdout.write(f"testbed: [{time.monotonic() - BEGAN:5.1f} s] {text}\n")
    sys.stdout.flush()


main()
