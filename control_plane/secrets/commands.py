"""`coffret secrets`: keys, and encrypting what the state database has with the newest."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import click

from control_plane.database import transaction
from control_plane.events import service as events
from control_plane.secrets import keys, rotation
from control_plane.secrets.keys import CLEAR, UnreadableSecret, new_key
from control_plane.settings import Settings, SettingsError


def secrets_group(application: Callable[[Settings], AbstractContextManager[None]]) -> click.Group:
    """The commands; `application` gives the application's context over a state database up to date."""

    @click.group("secrets")
    def group() -> None:
        """Secrets in the state database are encrypted at rest."""

    @group.command("new-key")
    def new_key_command() -> None:
        """Print a new key: one line for the file that COFFRET_SECRETS_KEYS names."""
        click.echo(new_key())

    @group.command("rotate")
    @click.pass_obj
    def rotate_command(settings: Settings) -> None:
        """Encrypt with the newest key all that is not. The control plane may run meanwhile.

        Broken off, it is run again. After it the older keys may go.
        """
        with application(settings):
            try:
                count = rotation.rotate()
            except UnreadableSecret as error:
                raise SettingsError(f"Not all could be encrypted anew: {error}.") from error
            newest = keys().newest
            with transaction():
                what = events.Subject("secrets", key=newest or CLEAR)
                events.record("rotated", f"{count} secrets encrypted anew.", what)
        how = (
            f"encrypted with the key {newest}" if newest else "put in clear, as the file's first line says"
        )
        click.echo(f"{count} secrets were {how}; no other key is in use.")

    return group
