"""`python -m bench.openstack`: what Coffret costs over a plain script, on the cloud that OS_CLOUD names.

create.openstack: 20 instances at once, from their PUTs, sent by 20 threads, until all their servers are
ACTIVE with volume, port and security group. Floor: bench/openstack_by_hand.py, which makes 20 servers of
the same parts with as many threads. Either deletes what it made before the other's turn, unmeasured.

calls.openstack: requests to the cloud for each instance that create.openstack makes; its floor, those of
the script.

calls.openstack.idle: requests to the cloud, per instance and minute, of another control plane, whose 20
instances are as they should be, over the ten minutes after the last of them became so. In that time it
looks at each of them once and at the whole cloud twice. The script looks after nothing: there is no floor.
"""

import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import openstack

from bench import openstack_by_hand as by_hand
from bench.counted import note_requests, requests_between
from bench.figure import Figure, in_turns, show
from bench.service import Service, serving

INSTANCES = 20
ROUNDS = 3
MOST = 1.3
IDLE_SECONDS = 600.0
MOST_IDLE = 1.0
LONGEST = 900.0
"""Seconds in which 20 instances are there or never."""
PORT = 5432
ALLOWED_CIDRS = ("10.0.0.0/8", "2001:db8::/32")
ZONE, IMAGE, NETWORK, FLAVOR, VOLUME_TYPE = "fake", "tiny", "demo-net", "db.small", "rbd"
"""What the test bed has."""


@dataclass(frozen=True)
class Side:
    """One of those that are measured: what it asked of the cloud, and how much that was a round."""

    requests: Path
    calls: list[float] = field(default_factory=list)
    """Requests for each instance, by round."""

    def turn(self, make: Callable[[], float], delete: Callable[[], None]) -> float:
        """Returns what `make` does: how long it took."""
        began = time.time()
        took = make()
        counted = requests_between(self.requests, began, time.time())
        self.calls.append(counted.total() / INSTANCES)
        _explain(self.requests.name, counted)
        delete()
        return took

    def serving(self, project: str) -> AbstractContextManager[Service]:
        """A control plane of its own, whose requests are counted; its token is for `project`."""
        return serving(
            "openstack",
            coffret=[sys.executable, "-m", "bench.counted", str(self.requests)],
            project=project,
            deployment=f"bench-{uuid.uuid4().hex[:8]}",
            openstack_volume_type=VOLUME_TYPE,
            openstack_availability_zone=ZONE,
        )


def measure() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="coffret-bench-") as folder, openstack.connect() as cloud:
        idle, busy, script = (Side(Path(folder) / name) for name in ("idle", "coffret", "script"))
        note_requests(script.requests)
        network = cloud.network.find_network(NETWORK, ignore_missing=False)
        wish = by_hand.Wish(
            image=cloud.image.find_image(IMAGE, ignore_missing=False).id,
            flavor=cloud.compute.find_flavor(FLAVOR, ignore_missing=False).id,
            network=network.id,
            zone=ZONE,
            volume_type=VOLUME_TYPE,
            port=PORT,
            allowed_cidrs=ALLOWED_CIDRS,
        )
        names = [f"bench-{uuid.uuid4().hex[:8]}-{number}" for number in range(INSTANCES)]
        with idle.serving(network.project_id) as at_rest:
            make_all(at_rest, wish)
            resting = time.time()
            with busy.serving(network.project_id) as service:
                value, floor = in_turns(
                    ROUNDS,
                    lambda: busy.turn(lambda: make_all(service, wish), service.delete_all),
                    lambda: script.turn(
                        lambda: by_hand.make_all(cloud, names, wish),
                        lambda: by_hand.delete_all(cloud, names),
                    ),
                )
            yield Figure(
                "create.openstack", value, "s", floor, value / floor <= MOST, f"ratio at most {MOST}"
            )
            value, floor = median(busy.calls), median(script.calls)
            yield Figure("calls.openstack", value, "calls/instance", floor, met=True, target="none")
            time.sleep(max(0.0, resting + IDLE_SECONDS - time.time()))
            counted = requests_between(idle.requests, resting, resting + IDLE_SECONDS)
            _explain("idle", counted)
            value = counted.total() / INSTANCES / (IDLE_SECONDS / 60)
            unit = "calls/instance/min"
            yield Figure(
                "calls.openstack.idle",
                value,
                unit,
                None,
                value <= MOST_IDLE,
                f"at most {MOST_IDLE:g} {unit}",
            )


def make_all(service: Service, wish: by_hand.Wish) -> float:
    """Make the instances and wait until the cloud has all that is theirs. Returns the seconds it took.

    No agent runs in the test bed's servers: whether they are ready is not the question.
    """
    service.put("/datastores/postgresql/versions/18-bench", {"image": wish.image})
    instance = {
        "datastore": "postgresql",
        "version": "18-bench",
        "flavor": FLAVOR,
        "volume": {"size": 1},
        "network": {"network_id": wish.network},
        "access": {"allowed_cidrs": list(wish.allowed_cidrs)},
    }
    began = time.perf_counter()
    with ThreadPoolExecutor(INSTANCES) as pool:
        list(pool.map(lambda number: service.put(f"/instances/pg-{number}", instance), range(INSTANCES)))
    while (there := _made(service)) < INSTANCES:
        if time.perf_counter() - began > LONGEST:
            raise RuntimeError(f"{there} of {INSTANCES} instances are there after {LONGEST:g} s")
        time.sleep(0.5)
    return time.perf_counter() - began


def _made(service: Service) -> int:
    """How many instances have all that they need of the cloud."""
    instances = service.get("/instances", limit=INSTANCES)["items"]
    ready = [
        condition["status"] == "True"
        for instance in instances
        for condition in instance["status"]["conditions"]
        if condition["type"] == "CloudReady"
    ]
    return sum(ready)


def _explain(who: str, counted: Counter[str]) -> None:
    """What was asked for, most often first, on standard error."""
    lines = [f"  {who}: {number / INSTANCES:6.2f} {what}\n" for what, number in counted.most_common()]
    sys.stderr.write("".join(lines))


if __name__ == "__main__":
    met = [show(figure) for figure in measure()]
    sys.exit(0 if all(met) else 1)
