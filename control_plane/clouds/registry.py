"""The clouds there are, by the setting COFFRET_CLOUD."""

from control_plane.clouds import local, noop
from control_plane.clouds.base import Cloud
from control_plane.errors import nearest
from control_plane.settings import Settings, SettingsError


def _open_openstack(settings: Settings) -> Cloud:
    """Only who chooses it needs its libraries."""
    try:
        from control_plane.clouds import openstack
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"COFFRET_CLOUD=openstack needs {error.name}, which is not installed:"
            " pip install 'coffret[openstack]' brings it."
        ) from error
    return openstack.open_cloud(settings)


CLOUDS = {"local": local.open_cloud, "openstack": _open_openstack, "noop": noop.open_cloud}


def open_cloud(settings: Settings) -> Cloud:
    """Raises SettingsError when the settings do not make a usable cloud."""
    try:
        opened = CLOUDS[settings.cloud]
    except KeyError:
        raise SettingsError(
            f"COFFRET_CLOUD={settings.cloud!r} is not a cloud.{nearest(settings.cloud, CLOUDS)}"
            f" The clouds are {', '.join(CLOUDS)}."
        ) from None
    return opened(settings)
