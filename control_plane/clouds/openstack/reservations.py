"""Volumes that Nova keeps for servers that it never made: it forgets to let go when making one fails."""

from openstack import exceptions as sdk

from control_plane.clouds.openstack.connection import OpenStack
from control_plane.clouds.openstack.errors import asking


def release(cloud: OpenStack, volume_id: str) -> bool:
    """Free the volume of what reserves it for servers that do not exist. Returns whether anything did.

    Asked while nothing makes a server with it. Raises CloudError.
    """
    with asking("Cinder"):
        held = list(cloud.block_storage.attachments(volume_id=volume_id))
    stale = [each for each in held if each.status == "reserved" and not _exists(cloud, each.instance)]
    with asking("Cinder"):
        for reservation in stale:
            cloud.block_storage.delete_attachment(reservation.id)
    return bool(stale)


def _exists(cloud: OpenStack, server_id: str) -> bool:
    with asking("Nova"):
        try:
            cloud.compute.get_server(server_id)
        except sdk.NotFoundException:
            return False
        return True
