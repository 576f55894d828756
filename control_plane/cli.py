"""The `coffret` command."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import click
from flask import g
from sqlalchemy.exc import SQLAlchemyError

from control_plane import clouds, schema, stores
from control_plane.app import ServerRole, create_app
from control_plane.auth import Role, tokens
from control_plane.auth.commands import keystone_group, policy_command
from control_plane.auth.context import operator
from control_plane.clouds import Cloud, CloudError, CloudPending
from control_plane.clouds.local.places import make_folder
from control_plane.clouds.registry import open_cloud
from control_plane.database import transaction
from control_plane.datastores import service as datastores
from control_plane.errors import CoffretError
from control_plane.events import service as events
from control_plane.logs import log_to_stderr
from control_plane.secrets import rotation
from control_plane.secrets.commands import secrets_group
from control_plane.server import serve
from control_plane.settings import Settings
from control_plane.work import survey


class _Commands(click.Group):
    """Errors meant for people end a command with one sentence, not with a traceback."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except CoffretError as error:
            raise click.ClickException(error.detail) from error
        except SQLAlchemyError as error:
            if not stores.is_unavailable(error):
                raise
            raise click.ClickException(f"The state database: {stores.said(error)}") from error


@click.group(cls=_Commands)
@click.version_option(package_name="coffret")
@click.pass_context
def main(context: click.Context) -> None:
    """Database-as-a-service for OpenStack, made for Terraform.

    Settings come from COFFRET_* variables and from the file that COFFRET_CONFIG names.
    """
    before = os.umask(0o077)  # what is written here is nobody else's
    context.call_on_close(lambda: os.umask(before))
    context.obj = Settings.load()


@main.command("serve")
@click.option(
    "--role",
    type=click.Choice([str(role) for role in ServerRole]),
    default=str(ServerRole.ALL),
    show_default=True,
    help="What this process is for: the users' API, the agents' API, or all, with runner and sweep.",
)
@click.pass_obj
def serve_command(settings: Settings, role: str) -> None:
    """Run the control plane, or a part of it, until SIGTERM."""
    serve(settings, ServerRole(role))


@main.command("worker")
@click.option(
    "--concurrency",
    type=click.IntRange(1),
    help="How many instances it reconciles at once. Default: COFFRET_RUNNER_THREADS.",
)
@click.pass_obj
def worker_command(settings: Settings, concurrency: int | None) -> None:
    """Reconcile what RabbitMQ tells of, until SIGTERM; for COFFRET_WORK=celery."""
    settings.check_celery()
    from control_plane.worker import work

    work(settings, concurrency)


@main.group("db")
def database() -> None:
    """The state database."""


@database.command()
@click.pass_obj
def upgrade(settings: Settings) -> None:
    """Bring the state database to this version's schema; `serve` does so itself at its start."""
    with _application(settings):
        click.echo("The state database is up to date.")


@main.group("token")
def token_group() -> None:
    """Tokens of the API."""


@token_group.command("create")
@click.argument("name")
@click.option("--project", default="default", show_default=True, help="Project that it belongs to.")
@click.option(
    "--role",
    type=click.Choice([str(role) for role in Role]),
    default=str(Role.MEMBER),
    show_default=True,
    help="Each role includes the ones before it.",
)
@click.option("--days", type=click.IntRange(1), help="Days until it expires; never if left out.")
@click.pass_obj
def create_token(settings: Settings, name: str, project: str, role: str, days: int | None) -> None:
    """Make a token called NAME and print it. It is shown this once: only its hash is kept."""
    with _application(settings):
        lifetime = timedelta(days=days) if days else None
        _, text = tokens.create(name, project, Role[role.upper()], lifetime)
    click.echo(text)


@main.group("datastore")
def datastore_group() -> None:
    """Datastores and their versions."""


@datastore_group.command("import")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.pass_obj
def import_datastores(settings: Settings, files: tuple[Path, ...]) -> None:
    """Register datastore versions from catalogue FILES, as `coffret-agent catalogue` prints them."""
    with _application(settings):
        for file in files:
            version, outcome = datastores.import_catalogue(datastores.read_catalogue(file))
            click.echo(f"{version.datastore.name} {version.name}: {outcome.value}")


@main.group("cloud")
def cloud_group() -> None:
    """What is on the cloud."""


@cloud_group.command("sweep")
@click.option("--delete", is_flag=True, help="Delete the orphans, volumes and their data included.")
@click.pass_obj
def sweep_cloud(settings: Settings, delete: bool) -> None:
    """List objects of this deployment that no instance claims, and instances whose objects are gone.

    The latter are looked at by the running control plane at once. Deleting is for the former alone.
    """
    with _application(settings):
        cloud = clouds.current()
        found = survey.take(cloud)
        survey.look_after(found)
        for sentence in found.sentences:
            click.echo(sentence)
        orphans = {item.instance_id for item in found.orphans}
        if delete:
            for instance_id in sorted(orphans):
                _delete_all(cloud, instance_id)
                with transaction():
                    what = events.Subject("instance", key=instance_id, id=instance_id)
                    events.record("deleted", "What was left of it on the cloud is deleted.", what)
                click.echo(f"deleted what instance {instance_id} had")
        elif orphans:
            click.echo("Nothing was deleted: --delete removes what no instance claims, with its data.")
        if not found.sentences:
            click.echo("Everything on the cloud is some instance's, and nothing is missing.")


def _delete_all(cloud: Cloud, instance_id: str) -> None:
    """Raises CloudError when it takes longer than ten minutes."""
    deadline = time.monotonic() + 600
    while True:
        try:
            return cloud.delete(instance_id)
        except CloudPending as pending:
            if time.monotonic() > deadline:
                raise CloudError(f"Instance {instance_id}: still {pending}; sweep again.") from pending
            time.sleep(pending.again)


@main.command()
def openapi() -> None:
    """Print the API's OpenAPI document."""
    # the document says nothing of where it is served, so the settings play no part
    app = create_app(Settings(cloud="noop"), open_cloud(Settings(cloud="noop")))
    click.echo(app.test_client().get("/openapi.json").get_data(as_text=True))


main.add_command(policy_command)
main.add_command(keystone_group)


@contextmanager
def _application(settings: Settings) -> Iterator[None]:
    """The application's context over a state database that is up to date."""
    log_to_stderr("WARNING")
    app = create_app(settings, open_cloud(settings))
    make_folder(settings.data_dir, 0o700)
    with app.app_context():
        schema.bring_up_to_date()
        rotation.check()
        g.caller, g.source = operator(), socket.gethostname()
        yield


main.add_command(secrets_group(_application))


if __name__ == "__main__":
    main()
