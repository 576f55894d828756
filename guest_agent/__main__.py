"""The `coffret-agent` command."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from guest_agent import __version__, agent, catalogue, logs, settings
from guest_agent.engines import PLUGINS
from guest_agent.engines.base import EngineError
from guest_agent.settings import SettingsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 0, or 1 with a sentence on stderr."""
    wanted = _parser().parse_args(arguments)
    try:
        if wanted.command == "catalogue":
            found = catalogue.read(wanted.manager, wanted.version)
            text = json.dumps(found, indent=2, sort_keys=True, ensure_ascii=False)
            sys.stdout.write(text + "\n")
            return 0
        home = wanted.home.resolve()
        if wanted.command == "stop" and not (home / settings.FILE).exists():
            sys.stderr.write(f"coffret-agent: no agent was ever set up in {home}; nothing to stop\n")
            return 0
        known = settings.read(home)
        logs.log_to_stderr(known.instance_id, known.log_format)
        return agent.run(home) if wanted.command == "run" else agent.stop(home)
    except (SettingsError, EngineError) as error:
        sys.stderr.write(f"coffret-agent: {error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="coffret-agent", description="Runs beside a database engine and makes it as wanted."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, does in (
        ("run", "be the agent of a home, until SIGTERM (engine stops) or SIGUSR2 (engine stays)"),
        ("stop", "end the agent of a home, if there is one, and stop its engine"),
    ):
        command = commands.add_parser(name, help=does, description=does)
        command.add_argument(
            "--home", type=Path, required=True, help="folder with agent.json and the agent's state"
        )
    does = "print the parameter catalogue of an engine installed here, as JSON"
    command = commands.add_parser("catalogue", help=does, description=does)
    command.add_argument("--manager", required=True, choices=sorted(PLUGINS))
    command.add_argument("--version", required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())
