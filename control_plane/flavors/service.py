"""Flavors are the cloud's; here they are found, filtered and sorted."""

from control_plane import clouds
from control_plane.clouds import Flavor
from control_plane.errors import Invalid, NotFound, nearest


def find(key: str, pointer: str | None = None) -> Flavor:
    """The flavor by id or name. NotFound, or Invalid at `pointer`, names the nearest."""
    flavors = clouds.current().flavors.flavors()
    for flavor in flavors:
        if key in (flavor.id, flavor.name):
            return flavor
    detail = f"There is no flavor {key!r}.{nearest(key, [flavor.name for flavor in flavors])}"
    if pointer is not None:
        raise Invalid.field(pointer, detail)
    raise NotFound(detail)


def listing(min_ram: int = 0, min_vcpus: int = 0, min_memory_per_vcpu: int = 0) -> list[Flavor]:
    """Flavors that have at least so much (MiB), the smallest that fits first."""
    fitting = (
        flavor
        for flavor in clouds.current().flavors.flavors()
        if flavor.ram >= min_ram
        and flavor.vcpus >= min_vcpus
        and flavor.memory_per_vcpu >= min_memory_per_vcpu
    )
    return sorted(fitting, key=lambda flavor: (flavor.ram, flavor.vcpus, flavor.disk, flavor.name))
