"""Coffret in Keystone's catalogue, so that clients find it by the type `database`.

https://docs.openstack.org/api-ref/identity/v3/#service-catalog-and-endpoints
"""

from collections.abc import Iterator
from typing import cast
from urllib.parse import urlsplit

from openstack.connection import Connection
from openstack.exceptions import HttpException
from openstack.identity.v3._proxy import Proxy
from openstack.identity.v3.service import Service

from control_plane.auth.keystone import SERVICE_TYPE, cloud_name, log_in, open_region
from control_plane.errors import CoffretError, IdentityUnavailable, Invalid, nearest
from control_plane.settings import SettingsError

NAME = "coffret"
DESCRIPTION = "Databases as a service"


def register(url: str, region: str | None, interfaces: tuple[str, ...]) -> Iterator[str]:
    """Make the catalogue name `url` for the interfaces in the region; yields what was done.

    Without a region it is the one of OS_CLOUD, whose account must be an admin. What is there already
    stays; an endpoint with another URL gets this one. Raises Invalid, SettingsError and
    IdentityUnavailable.
    """
    url = _checked(url)
    config = open_region()
    log_in(config)
    with Connection(config=config) as connection:
        try:
            identity = cast(Proxy, connection.identity)
            region = _region(identity, region or config.get_region_name("identity"))
            service, said = _service(identity, region)
            yield said
            for interface in interfaces:
                yield _endpoint(identity, service, region, interface, url)
        except HttpException as error:
            raise _said(error) from error


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Invalid(f"{url!r} is not a URL such as https://coffret.example.org:8779.")
    if parts.query or parts.fragment or parts.path.rstrip("/").endswith("/v1"):
        raise Invalid(f"{url!r} is not the control plane's root; clients append /v1 themselves.")
    return url.rstrip("/")


def _region(identity: Proxy, wanted: str | None) -> str:
    known = [region.id for region in identity.regions()]
    if not wanted:
        if len(known) == 1:
            return known[0]
        raise Invalid(f"Say --region; Keystone knows {', '.join(known)}.")
    if wanted not in known:
        raise Invalid(
            f"Keystone knows no region {wanted!r}.{nearest(wanted, known)} Regions: {', '.join(known)}."
        )
    return wanted


def _service(identity: Proxy, region: str) -> tuple[Service, str]:
    services = list(identity.services(type=SERVICE_TYPE))
    ours = [service for service in services if service.name == NAME]
    for other in services:
        if other not in ours and list(identity.endpoints(service_id=other.id, region_id=region)):
            raise Invalid(
                f"The catalogue has a service {other.name!r} of the type {SERVICE_TYPE!r} with endpoints in"
                f" {region}; clients would find one or the other. Delete those endpoints first."
            )
    if not ours:
        made = identity.create_service(name=NAME, type=SERVICE_TYPE, description=DESCRIPTION)
        return made, f"service {NAME} of type {SERVICE_TYPE}: created"
    if not ours[0].is_enabled:
        identity.update_service(ours[0], is_enabled=True)
        return ours[0], f"service {NAME} of type {SERVICE_TYPE}: enabled"
    return ours[0], f"service {NAME} of type {SERVICE_TYPE}: there already"


def _endpoint(identity: Proxy, service: Service, region: str, interface: str, url: str) -> str:
    found = list(identity.endpoints(service_id=service.id, region_id=region, interface=interface))
    for twin in found[1:]:
        identity.delete_endpoint(twin)
    what = f"endpoint {interface} in {region}: {url}"
    if not found:
        identity.create_endpoint(
            service_id=service.id, region_id=region, interface=interface, url=url, is_enabled=True
        )
        return f"{what} created"
    before = str(found[0].url)
    if before == url and found[0].is_enabled:
        return f"{what} there already"
    identity.update_endpoint(found[0], url=url, is_enabled=True)
    return f"{what} instead of {before}" if before != url else f"{what} enabled"


def _said(error: HttpException) -> CoffretError:
    if error.status_code in (401, 403):
        return SettingsError(
            f"Keystone does not let the account that {cloud_name()} names change the catalogue; it takes"
            " an admin of the cloud."
        )
    return IdentityUnavailable(f"Keystone answers {error.status_code}: {error.details or error.message}")
