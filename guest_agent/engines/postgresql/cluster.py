"""The data directory: made once, whole or not at all, never wiped."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from guest_agent.engines.base import Account, EngineError, Home
from guest_agent.engines.postgresql.binaries import major
from guest_agent.engines.postgresql.names import ADMIN, OWN_DATABASES
from guest_agent.files import own_folder

_UNFINISHED = "pgdata.new-"

HBA = f"""# Written by Coffret's agent.
local all {ADMIN} peer map=coffret
host all {ADMIN} all reject
host {",".join(sorted(OWN_DATABASES))} all all reject
host all all all scram-sha-256
"""


def ident(account: Account | None) -> str:
    """pg_ident.conf: the agent's and the engine's accounts are the administrator."""
    names = {pwd.getpwuid(os.geteuid()).pw_name}
    if account:
        names.add(account.name)
    lines = [f'coffret "{name}" {ADMIN}\n' for name in sorted(names)]
    return "# Written by Coffret's agent.\n" + "".join(lines)


def data_directory(home: Home) -> Path:
    """Where the data cluster of this home lies."""
    return home.data / "pgdata"


def cluster_version(home: Home) -> str | None:
    """The major version the data directory was made by; None when there is none yet."""
    data = data_directory(home)
    try:
        return (data / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        if data.exists() and any(data.iterdir()):
            raise EngineError(
                f"{data} is not empty and holds no PostgreSQL data; it is left as it is. "
                "Move what is in it away, then a new data directory can be made"
            ) from None
        return None


def initialise(
    home: Home, binaries: Path, version: str, meanwhile: Callable[[], object] = lambda: None
) -> None:
    """Run initdb beside the final place and move the result there; killed, it is done again.

    `meanwhile` is called while it runs.
    """
    own_folder(home.data, home.account)
    for left in home.data.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(left, ignore_errors=True)  # an orphaned initdb may still write there
    place = Path(tempfile.mkdtemp(dir=home.data, prefix=_UNFINISHED))
    try:
        if home.account:
            os.chown(place, home.account.uid, home.account.gid)
        locale = ["--locale=C.UTF-8"]
        if major(version) >= 17:
            locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        run_as_account(
            home,
            [
                binaries / "initdb",
                f"--pgdata={place}",
                f"--username={ADMIN}",
                "--encoding=UTF8",
                *locale,
                "--data-checksums",
                "--auth-local=peer",
                "--auth-host=scram-sha-256",
                "--no-instructions",
            ],
            meanwhile,
        )
        place.rename(data_directory(home))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def run_as_account(
    home: Home, command: Sequence[str | Path], meanwhile: Callable[[], object] = lambda: None
) -> None:
    """Run one of PostgreSQL's programs to its end; EngineError when it fails."""
    account = home.account
    with subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        cwd=home.data,
        env=environment(),
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    ) as running:
        meanwhile()
        output, errors = running.communicate()
    if running.returncode:
        words = (errors or output).strip()
        raise EngineError(f"{Path(command[0]).name} failed: {words}")


def environment() -> dict[str, str]:
    """No PG* variable of ours reaches the engine; its messages are English."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
