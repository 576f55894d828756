"""A Cinder driver that grows no attached volume, as some vendors' do, so that the longer way is tested."""

from cinder import interface
from cinder.volume.drivers.rbd import RBDDriver


@interface.volumedriver
class OfflineRBDDriver(RBDDriver):
    def _update_volume_stats(self) -> None:
        super()._update_volume_stats()
        self._stats["online_extend_support"] = False
