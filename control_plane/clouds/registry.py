"""The clouds there are, by the setting COFFRET_CLOUD."""

from control_plane.clouds import local, noop
from control_plane.clouds.base import Cloud
from control_plane.errors import nearest
from control_plane.settings import Settings, SettingsError

CLOUDS = {"local": local.open_cloud, "noop": noop.open_cloud}


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
