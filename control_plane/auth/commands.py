"""`coffret policy` and `coffret keystone`."""

import click

from control_plane.auth import identity
from control_plane.auth.policy import sample

INTERFACES = ("public", "internal", "admin")


@click.command("policy")
def policy_command() -> None:
    """Print all rules of who may do what, as a policy file."""
    click.echo("\n".join(sample()).rstrip())


@click.group("keystone")
def keystone_group() -> None:
    """The cloud's identity service, with the credentials of OS_CLOUD."""


@keystone_group.command("register")
@click.option("--url", required=True, help="The control plane's, without /v1.")
@click.option("--region", help="Where it is; OS_CLOUD's own if left out.")
@click.option(
    "--interface",
    "interfaces",
    multiple=True,
    type=click.Choice(INTERFACES),
    default=INTERFACES,
    show_default=True,
    help="Of the endpoints; may be repeated.",
)
def register_command(url: str, region: str | None, interfaces: tuple[str, ...]) -> None:
    """Put the control plane into the catalogue, as the service coffret of the type database.

    Run again it changes what is not as it should be. It takes an admin of the cloud.
    """
    with identity.needs_openstack("coffret keystone"):
        from control_plane.auth import catalogue
    for done in catalogue.register(url, region, interfaces):
        click.echo(done)
