"""The openstack cloud: Nova, Cinder, Neutron and Glance, by openstacksdk (the extra `openstack`).

All objects belong to the service project that clouds.yaml or OS_* variables log in to.
"""

from control_plane.clouds.base import Cloud, CloudError, CloudRefusal
from control_plane.clouds.openstack.compute import Compute
from control_plane.clouds.openstack.connection import OpenStack
from control_plane.clouds.openstack.errors import asking
from control_plane.clouds.openstack.flavors import Flavors
from control_plane.clouds.openstack.images import Images
from control_plane.clouds.openstack.inventory import Inventory
from control_plane.clouds.openstack.management import open_management
from control_plane.clouds.openstack.network import Network
from control_plane.clouds.openstack.networks import Networks
from control_plane.clouds.openstack.server_groups import ServerGroups
from control_plane.clouds.openstack.volumes import Volumes
from control_plane.settings import Settings, SettingsError

RESYNC_SECONDS = 600.0
"""A look at a converged instance takes about five calls, and a cloud has many."""


def open_cloud(settings: Settings) -> Cloud:
    """Raises SettingsError when the cloud cannot be used, or has not the networks that are set."""
    cloud = OpenStack(settings.deployment)
    cloud.log_in()
    try:
        with asking("Neutron"):
            management = open_management(cloud, settings.openstack_management_network)
            networks = Networks(
                cloud, settings.openstack_external_network, management.network_id if management else None
            )
            if settings.openstack_external_network:
                networks.external()
    except (CloudError, CloudRefusal) as error:
        raise SettingsError(f"The networks that are set cannot be used: {error}") from error
    flavors = Flavors(cloud)
    images = Images(cloud, flavors)
    cloud.hang_up()  # the processes that serve are forked from this one
    return Cloud(
        name="openstack",
        images=images,
        flavors=flavors,
        volumes=Volumes(cloud, settings.openstack_volume_type, settings.openstack_availability_zone),
        network=Network(cloud, networks, management),
        compute=Compute(cloud, flavors, images, ServerGroups(cloud), settings.openstack_availability_zone),
        inventory=Inventory(cloud),
        resync_seconds=RESYNC_SECONDS,
        resizes=True,
    )
