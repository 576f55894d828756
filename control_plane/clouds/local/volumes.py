"""A volume is a folder; its size is written down and not enforced."""

import json
import shutil
from dataclasses import dataclass

from control_plane.clouds.base import CloudError, CloudRefusal, ServerSpec, Volume
from control_plane.clouds.local.places import Places, make_folder
from guest_agent import files

_GIB = 1 << 30


@dataclass(frozen=True)
class Volumes:
    places: Places

    def validate(self, spec: ServerSpec) -> None:
        if spec.volume_type is not None:
            raise CloudRefusal("Volumes of the local cloud have no types; leave it out.", "/volume/type")
        disk = shutil.disk_usage(self.places.root).total // _GIB
        if spec.volume_size > disk:
            raise CloudRefusal(
                f"The disk of this machine has {disk} GiB in all; {spec.volume_size} can't fit.",
                "/volume/size",
            )

    def find(self, instance_id: str) -> Volume | None:
        try:
            noted = json.loads((self.places.volume(instance_id) / "volume.json").read_text())
        except FileNotFoundError:
            return None
        return Volume(instance_id, noted["size"])

    def ensure(self, spec: ServerSpec, *, known: str | None) -> Volume:
        there = self.find(spec.instance_id)
        if there is None and known is not None:
            raise CloudRefusal(
                f"The volume's folder, {self.places.volume(spec.instance_id)}, is gone, and the data with"
                " it. Put the folder back and rebuild the instance, or delete it."
            )
        if there is not None and there.size > spec.volume_size:
            raise CloudRefusal(
                f"The volume has {there.size} GiB and only grows; {spec.volume_size} were asked for.",
                "/volume/size",
            )
        volume = Volume(spec.instance_id, spec.volume_size)
        if volume != there:
            folder = self.places.volume(spec.instance_id)
            try:
                make_folder(folder.parent, self.places.passage)
                make_folder(folder, self.places.passage)
                files.write(folder / "volume.json", json.dumps({"size": volume.size}), mode=0o600)
            except OSError as error:
                raise CloudError(f"The volume cannot be made: {error}") from error
        return volume

    def delete(self, instance_id: str) -> None:
        folder = self.places.volume(instance_id)
        try:
            if folder.is_dir():
                shutil.rmtree(folder)
            if folder.parent.is_dir():
                folder.parent.rmdir()
        except OSError as error:
            raise CloudError(f"The volume cannot be removed: {error}") from error
