"""The local cloud: instances are folders and processes on this machine, with real engines.

Below COFFRET_DATA_DIR:

    instances/<id>/agent/    agent.json, the agent's state and log; for the agent alone
    instances/<id>/volume/   volume.json and data/, which belongs to the engine's account
    ports/<port>             reservation: holds the id of the instance that has the port
    engines/<name>/          binaries copied for an account that cannot read the originals

The network is the loopback interface: nothing from outside this machine gets in, so `allowed_cidrs`
is accepted and has nothing left to keep out.
"""

from control_plane.clouds.base import Cloud
from control_plane.clouds.local import account, flavors
from control_plane.clouds.local.binaries import Binaries
from control_plane.clouds.local.compute import Compute
from control_plane.clouds.local.images import Images
from control_plane.clouds.local.inventory import Inventory
from control_plane.clouds.local.network import Network
from control_plane.clouds.local.places import Places
from control_plane.clouds.local.volumes import Volumes
from control_plane.settings import Settings

RESYNC_SECONDS = 15.0


def open_cloud(settings: Settings) -> Cloud:
    """Raises SettingsError when the account, the data folder or the flavors cannot be used."""
    owner = account.of_engines(settings.local_account)
    places = Places.open(settings.data_dir.absolute(), owner)
    binaries = Binaries(places.engines, owner)
    return Cloud(
        name="local",
        images=Images(binaries),
        flavors=flavors.Flavors(flavors.load(settings.local_flavors)),
        volumes=Volumes(places),
        network=Network(places),
        compute=Compute(places, binaries, owner),
        inventory=Inventory(places),
        resync_seconds=RESYNC_SECONDS,
    )
