"""The `coffret` command."""

import os

import click
import flask_migrate

from control_plane.app import create_app
from control_plane.clouds.registry import open_cloud
from control_plane.errors import CoffretError
from control_plane.server import log_to_stderr, serve
from control_plane.settings import Settings


class _Commands(click.Group):
    """Errors meant for people end a command with one sentence, not with a traceback."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except CoffretError as error:
            raise click.ClickException(error.detail) from error


@click.group(cls=_Commands)
@click.version_option(package_name="coffret")
@click.pass_context
def main(context: click.Context) -> None:
    """Database-as-a-service for OpenStack, made for Terraform.

    Settings come from COFFRET_* variables and from the file that COFFRET_CONFIG names.
    """
    os.umask(0o077)  # what is written here is nobody else's
    context.obj = Settings.load()


@main.command("serve")
@click.pass_obj
def serve_command(settings: Settings) -> None:
    """Run the control plane: web, runner and sweep in one process."""
    serve(settings)


@main.group("db")
def database() -> None:
    """The state database."""


@database.command()
@click.pass_obj
def upgrade(settings: Settings) -> None:
    """Bring the state database to this version's schema; `serve` does so itself at its start."""
    log_to_stderr(settings.log_level)
    app = create_app(settings, open_cloud(settings))
    with app.app_context():
        flask_migrate.upgrade()


if __name__ == "__main__":
    main()
