"""Glance's images: by id, or the newest one that has all tags."""

from dataclasses import dataclass, field
from typing import Any

from openstack import exceptions as sdk

from control_plane.clouds.base import CloudRefusal, ServerSpec
from control_plane.clouds.openstack.cached import Cached
from control_plane.clouds.openstack.connection import OpenStack, is_id
from control_plane.clouds.openstack.errors import asks
from control_plane.clouds.openstack.flavors import Flavors

KEPT_SECONDS = 60


@dataclass(frozen=True)
class Images:
    cloud: OpenStack
    flavors: Flavors
    _kept: Cached[dict[str, Any]] = field(default_factory=lambda: Cached(KEPT_SECONDS))

    def validate(self, spec: ServerSpec) -> None:
        """Whether a new server can be made of the image. What runs already does not need it."""
        if spec.instance_id:
            return
        image = self._kept.get((spec.image, *spec.image_tags), lambda: self._find(spec))
        flavor = self.flavors.find(spec.flavor)
        for what, has, least, unit in (
            ("disk", flavor.disk, image["min_disk"], "GiB of root disk"),
            ("memory", flavor.ram, image["min_ram"], "MiB of memory"),
        ):
            if has < least:
                raise CloudRefusal(
                    f"The flavor {flavor.name!r} has {has} {unit}, and the image of {spec.datastore}"
                    f" {spec.version} needs {least}. Choose one with more {what}.",
                    "/flavor",
                )

    def resolve(self, spec: ServerSpec) -> str:
        """Id of the image that a server made now gets. Raises CloudRefusal."""
        image_id: str = self._find(spec)["id"]
        return image_id

    @asks("Glance")
    def _find(self, spec: ServerSpec) -> dict[str, Any]:
        """The image as Glance shows it; it is active. Raises CloudRefusal at /version."""
        what = f"{spec.datastore} {spec.version}"
        if spec.image:
            return self._by_id(spec.image, what)
        if not spec.image_tags:
            raise CloudRefusal(
                f"No image is known for {what}: its datastore version has neither image nor image_tags."
                " The operator sets one.",
                "/version",
            )
        tags = [("tag", tag) for tag in spec.image_tags]
        query = [*tags, ("status", "active"), ("sort", "created_at:desc"), ("limit", "1")]
        response = self.cloud.image.get("/images", params=query)
        sdk.raise_from_response(response)
        found: list[dict[str, Any]] = response.json()["images"]
        if not found:
            raise CloudRefusal(
                f"Glance has no active image with the tags {', '.join(spec.image_tags)} for {what}."
                " The operator adds one.",
                "/version",
            )
        return found[0]

    def _by_id(self, image_id: str, what: str) -> dict[str, Any]:
        response = self.cloud.image.get(f"/images/{image_id}") if is_id(image_id) else None
        if response is None or response.status_code == 404:
            raise CloudRefusal(
                f"Glance has no image {image_id}, which {what} is made of. The operator adds one.",
                "/version",
            )
        sdk.raise_from_response(response)
        image: dict[str, Any] = response.json()
        if image["status"] != "active":
            raise CloudRefusal(
                f"The image {image_id} of {what} is {image['status']}, not active. The operator mends it.",
                "/version",
            )
        return image
