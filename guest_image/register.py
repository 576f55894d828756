"""Register a guest image in Glance: python guest_image/register.py FOLDER, as guest_image/build.sh left it.

The cloud is the one that OS_CLOUD names. The image gets its tags once it is active, so that new servers are
made of the one before until then.
"""

import hashlib
import json
import sys
import time
from pathlib import Path

import openstack
from openstack.connection import Connection
from openstack.image.v2.image import Image

from guest_agent import __version__

NAME = f"coffret-guest-{__version__}"
PROPERTIES = {
    "os_distro": "debian",
    "os_version": "12",
    "hw_disk_bus": "virtio",
    "hw_vif_model": "virtio",
    "hw_rng_model": "virtio",
    "hw_firmware_type": "bios",
}


def main(folder: Path) -> None:
    catalogues = sorted(folder.glob("*.json"))
    tags = sorted({tag for path in catalogues for tag in json.loads(path.read_text())["image_tags"]})
    with openstack.connect() as cloud:
        found = _same(cloud, folder / "guest.qcow2")
        image = found or _upload(cloud, folder / "guest.qcow2")
        for tag in set(tags) - set(image.tags):
            cloud.image.add_tag(image, tag)
        say(f"{image.name} is {'there already' if found else 'registered'}: {image.id}")
        for old in cloud.image.images(name=NAME, owner=cloud.current_project_id):
            if old.id != image.id:
                say(f"an older one is {old.id}; delete it once no server is made of it")
    say("its datastore versions, for each control plane:")
    say(f"  coffret datastore import {' '.join(str(path) for path in catalogues)}")


def _same(cloud: Connection, file: Path) -> Image | None:
    """The image that has this very file already."""
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha512").hexdigest()
    images = cloud.image.images(name=NAME, status="active", owner=cloud.current_project_id)
    return next((image for image in images if image.hash_value == digest), None)


def _upload(cloud: Connection, file: Path) -> Image:
    say(f"uploading {file.stat().st_size >> 20} MiB")
    image = cloud.image.create_image(
        name=NAME,
        disk_format="qcow2",
        container_format="bare",
        visibility="private",
        min_disk=3,
        allow_duplicates=True,  # of the name, which older ones have too; _same has looked for the file
        **PROPERTIES,
    )
    try:
        with file.open("rb") as content:
            response = cloud.image.put(
                f"/images/{image.id}/file",
                data=content,
                headers={"Content-Type": "application/octet-stream"},
            )
        openstack.exceptions.raise_from_response(response)
        while (image := cloud.image.get_image(image)).status != "active":
            if image.status not in ("queued", "saving", "importing"):
                raise SystemExit(f"guest-image: FAILED: Glance says that {image.id} is {image.status}")
            time.sleep(1)
    except BaseException:
        cloud.image.delete_image(image, ignore_missing=True)
        raise
    return image


def say(text: str) -> None:
    sys.stdout.write(f"guest-image: {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
