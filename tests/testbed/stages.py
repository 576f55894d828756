"""One function a service: it makes the service's data once, starts its processes and waits for them.

The first line of its docstring is what `up` says while it waits.
"""

import functools
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import cloud
import network
from config import ETC, KEYSTONE, PASSWORD, PORT, RUN, SOCKET, STATE
from processes import alive, end, guest, listens, pid_file, run, start, started, wait_for

CEPH_CONF = Path("/etc/ceph/ceph.conf")
DOMAINS = Path("/etc/libvirt/qemu")
CEPH = ("ceph-mon", "ceph-mgr", "ceph-osd")

# Where each service's reports arrive, by the name of its process; a time follows.
REPORTS = (
    ("nova-compute-fake", "nova.services where host='fake' and last_seen_up"),
    ("nova-compute-libvirt", "nova.services where host='lab' and `binary`='nova-compute' and last_seen_up"),
    (
        "neutron-linuxbridge",
        "neutron.agents where `binary`='neutron-linuxbridge-agent' and host='lab' and heartbeat_timestamp",
    ),
    ("neutron-dhcp", "neutron.agents where `binary`='neutron-dhcp-agent' and heartbeat_timestamp"),
    ("neutron-l3", "neutron.agents where `binary`='neutron-l3-agent' and heartbeat_timestamp"),
    ("fake-agent", "neutron.agents where host='fake' and heartbeat_timestamp"),
    ("cinder-volume", "cinder.services where host='lab@rbd' and updated_at"),
    ("cinder-volume", "cinder.services where host='lab@rbd-offline' and updated_at"),
)


def infra() -> None:
    """MariaDB, RabbitMQ and memcached"""
    STATE.chmod(0o755)
    RUN.chmod(0o1777)  # MariaDB and RabbitMQ run as themselves
    once("mariadb", make_mariadb)
    start(
        "mariadb", "mariadbd", "--no-defaults", "--user=mysql", f"--datadir={STATE}/mariadb",
        f"--socket={SOCKET}", f"--pid-file={STATE}/mariadb/pid",
        "--bind-address=127.0.0.1", f"--port={PORT['mariadb']}", "--skip-name-resolve",
        "--max-connections=1000", "--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=256M",
        "--skip-log-bin", "--character-set-server=utf8mb3",
    )  # fmt: skip
    start(
        "memcached",
        "memcached",
        "-u",
        "memcache",
        "-l",
        "127.0.0.1",
        "-p",
        str(PORT["memcached"]),
        "-m",
        "64",
    )
    start_rabbitmq()
    wait_for("MariaDB", lambda: listens(PORT["mariadb"]), "mariadb")
    sql(
        f"create or replace user openstack@127.0.0.1 identified by '{PASSWORD}';"
        "grant all on *.* to openstack@127.0.0.1"
    )
    wait_for("memcached", lambda: listens(PORT["memcached"]), "memcached")
    wait_for("RabbitMQ", lambda: listens(PORT["rabbitmq"]), "rabbitmq")


def make_mariadb() -> None:
    shutil.rmtree(STATE / "mariadb", ignore_errors=True)
    run("mariadb", "mariadb-install-db", "--no-defaults", "--user=mysql", f"--datadir={STATE}/mariadb")


def start_rabbitmq() -> None:
    if alive("rabbitmq"):
        return
    home = STATE / "rabbitmq"
    shutil.rmtree(
        home, ignore_errors=True
    )  # queues are declared again; what was killed in mid-write is not mended
    home.mkdir()
    shutil.chown(home, "rabbitmq", "rabbitmq")
    start(
        "rabbitmq", "setpriv", "--reuid=rabbitmq", "--regid=rabbitmq", "--clear-groups",
        "/usr/lib/rabbitmq/bin/rabbitmq-server",
        HOME=str(home), RABBITMQ_NODENAME="testbed@localhost", RABBITMQ_NODE_IP_ADDRESS="127.0.0.1",
        RABBITMQ_NODE_PORT=str(PORT["rabbitmq"]), RABBITMQ_DIST_PORT=str(PORT["rabbitmq-cluster"]),
        ERL_EPMD_ADDRESS="127.0.0.1", ERL_EPMD_PORT=str(PORT["epmd"]),
        RABBITMQ_MNESIA_BASE=f"{home}/mnesia", RABBITMQ_LOG_BASE=f"{home}/log",
        RABBITMQ_ENABLED_PLUGINS_FILE=f"{home}/enabled_plugins",
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none",
    )  # fmt: skip


def libvirtd() -> None:
    """libvirt, which tries its emulators while the rest comes up"""
    if not (STATE / "made" / "nova").exists():
        forget_guests()  # of an earlier test bed: a definition that is left blocks the next first guest
    start("virtlogd", "virtlogd")
    start("libvirtd", "libvirtd", "--config", ETC / "libvirt/libvirtd.conf")


def forget_guests() -> None:
    end(guest)
    for definition in DOMAINS.glob("instance-*.xml"):
        if f"{STATE}/nova/instances/" in definition.read_text():
            definition.unlink()


def keystone() -> None:
    """Keystone's API and the catalogue of services"""
    once("keystone", make_keystone)
    start_wsgi(
        "keystone",
        "/usr/bin/keystone-wsgi-public",
        2,
        OS_KEYSTONE_CONFIG_FILES=f"{ETC}/keystone/keystone.conf",
    )
    wait_for("Keystone's API", lambda: listens(PORT["keystone"]), "keystone")
    once("catalogue", cloud.make_catalogue)


def make_keystone() -> None:
    make_database("keystone")
    manage = ("keystone-manage", "--config-file", f"{ETC}/keystone/keystone.conf")
    for folder in ("fernet-keys", "credential-keys"):
        (STATE / "keystone" / folder).mkdir(parents=True, exist_ok=True)
    run("keystone", *manage, "db_sync")
    for step in ("fernet_setup", "credential_setup"):
        run("keystone", *manage, step, "--keystone-user", "root", "--keystone-group", "root")
    urls = [f"--bootstrap-{interface}-url={KEYSTONE}" for interface in ("admin", "internal", "public")]
    run(
        "keystone",
        *manage,
        "bootstrap",
        f"--bootstrap-password={PASSWORD}",
        "--bootstrap-region-id=RegionOne",
        *urls,
    )


def glance() -> None:
    """Glance's API"""
    conf = ("--config-file", f"{ETC}/glance/glance-api.conf")
    for folder in ("images", "staging", "tasks", "lock"):
        (STATE / "glance" / folder).mkdir(parents=True, exist_ok=True)
    once("glance", lambda: make_database("glance", "glance-manage", *conf, "db_sync"))
    start("glance", "glance-api", *conf)
    wait_for("Glance's API", lambda: listens(PORT["glance"]), "glance")


def placement() -> None:
    """Placement's API"""
    conf = ("--config-file", f"{ETC}/placement/placement.conf")
    once("placement", lambda: make_database("placement", "placement-manage", *conf, "db", "sync"))
    start_wsgi("placement", "/usr/bin/placement-api", 1, OS_PLACEMENT_CONFIG_DIR=f"{ETC}/placement")
    wait_for("Placement's API", lambda: listens(PORT["placement"]), "placement")


def nova() -> None:
    """Nova's API"""
    conf = ("--config-file", f"{ETC}/nova/nova.conf")
    for folder in ("instances", "lock"):
        (STATE / "nova" / folder).mkdir(parents=True, exist_ok=True)
    once("nova", make_nova)
    for name in ("nova-conductor", "nova-scheduler", "nova-api"):
        start(name, name, *conf)
    wait_for("Nova's API", lambda: listens(PORT["nova"]), "nova-api")


def make_nova() -> None:
    for name in ("nova_api", "nova", "nova_cell0"):
        make_database(name)
    manage = ("nova-manage", "--config-file", f"{ETC}/nova/nova.conf")
    run("nova", *manage, "api_db", "sync")
    run("nova", *manage, "cell_v2", "map_cell0")
    run("nova", *manage, "cell_v2", "create_cell", "--name", "cell1")
    run("nova", *manage, "db", "sync")


def neutron() -> None:
    """Neutron's API, its bridge, DHCP and router agents"""
    conf = ("--config-file", f"{ETC}/neutron/neutron.conf")
    ml2 = ("--config-file", f"{ETC}/neutron/ml2_conf.ini")
    once("neutron", lambda: make_neutron(*conf, *ml2))
    network.plug()
    start("neutron-server", "neutron-server", *conf, *ml2)
    wait_for("Neutron's API", lambda: listens(PORT["neutron"]), "neutron-server")
    for name in ("linuxbridge", "dhcp", "l3"):
        start(
            f"neutron-{name}",
            f"neutron-{name}-agent",
            *conf,
            "--config-file",
            f"{ETC}/neutron/{name}_agent.ini",
        )
    start("fake-agent", "/usr/bin/python3", STATE / "bin/fake_agent.py", *conf)


def make_neutron(*conf: str) -> None:
    network.clear()
    make_database("neutron")
    (STATE / "neutron/lock").mkdir(parents=True, exist_ok=True)
    run("neutron", "neutron-db-manage", *conf, "upgrade", "heads")


def ceph() -> None:
    """Ceph of one node: monitor, manager, and a store in a sparse file"""
    (RUN / "ceph").mkdir(exist_ok=True)
    if not os.path.lexists(CEPH_CONF):  # QEMU reads it there
        CEPH_CONF.parent.mkdir(exist_ok=True)
        CEPH_CONF.symlink_to(ETC / "ceph/ceph.conf")
    once("ceph", make_ceph)
    start_ceph_monitor()
    start_ceph_store()


def make_ceph() -> None:
    end(started(only=CEPH))
    shutil.rmtree(STATE / "ceph", ignore_errors=True)
    for folder in ("mon-a", "mgr-x", "osd-0"):
        (STATE / "ceph" / folder).mkdir(parents=True)
    monitors = f"[v2:127.0.0.1:{PORT['ceph']},v1:127.0.0.1:{PORT['ceph-v1']}]"
    cluster, store = str(uuid.uuid5(uuid.NAMESPACE_DNS, "testbed")), str(uuid.uuid4())
    run("ceph", "monmaptool", "--create", "--addv", "a", monitors, "--fsid", cluster, STATE / "ceph/monmap")
    run("ceph", "ceph-mon", "--mkfs", "-i", "a", "--monmap", STATE / "ceph/monmap")
    start_ceph_monitor()
    run("ceph", "ceph", "osd", "new", store, "0")
    run("ceph", "ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", store)
    start_ceph_store()
    run("ceph", "ceph", "osd", "set-full-ratio", "0.95")
    run("ceph", "ceph", "osd", "pool", "create", "volumes")
    run("ceph", "rbd", "pool", "init", "volumes")


def start_ceph_monitor() -> None:
    start("ceph-mon", "ceph-mon", "-f", "-i", "a")
    wait_for("Ceph's monitor", lambda: listens(PORT["ceph"]), "ceph-mon")
    start("ceph-mgr", "ceph-mgr", "-f", "-i", "x")


def start_ceph_store() -> None:
    start("ceph-osd", "ceph-osd", "-f", "-i", "0")
    up = ("ceph", "osd", "stat", "--format=json")
    wait_for("Ceph's store", lambda: json.loads(run("ceph", *up))["num_up_osds"] == 1, "ceph-osd")


def cinder() -> None:
    """Cinder's API, scheduler and volume service"""
    conf = ("--config-file", f"{ETC}/cinder/cinder.conf")
    (STATE / "cinder/lock").mkdir(parents=True, exist_ok=True)
    once("cinder", lambda: make_database("cinder", "cinder-manage", *conf, "db", "sync"))
    for name in ("cinder-scheduler", "cinder-volume", "cinder-api"):
        start(name, name, *conf, PYTHONPATH=f"{STATE}/bin")
    wait_for("Cinder's API", lambda: listens(PORT["cinder"]), "cinder-api")


def compute() -> None:
    """a first report of each compute, agent and volume service (up to a minute)"""
    for name in ("fake", "libvirt"):
        conf = (f"--config-file={ETC}/nova/nova.conf", f"--config-file={ETC}/nova/{name}.conf")
        start(f"nova-compute-{name}", "nova-compute", *conf)
    for name, reports in REPORTS:
        wait_for(f"a report of {name}", functools.partial(has_reported, name, reports), name)


def has_reported(name: str, reports: str) -> bool:
    """Whether it has since it was started, and over the RabbitMQ and into the MariaDB that run now."""
    since = max(pid_file(needed).stat().st_mtime for needed in (name, "rabbitmq", "mariadb"))
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(since))
    return sql(f"select count(*) from {reports} > '{moment}'") != "0"


def resources() -> None:
    """flavors, zones, image, networks, volume types"""
    once("resources", make_resources)
    once("management", cloud.make_management)
    network.plug_management(*cloud.management_port())


def make_resources() -> None:
    run("nova", "nova-manage", "--config-file", f"{ETC}/nova/nova.conf", "cell_v2", "discover_hosts")
    cloud.make_resources()


def once(name: str, make: Callable[[], object]) -> None:
    """Make data that lasts; what an unclean end left half made is made anew."""
    made = STATE / "made" / name
    if not made.exists():
        make()
        made.touch()


def make_database(name: str, *migrate: str) -> None:
    sql(f"drop database if exists {name}; create database {name} character set utf8mb3")
    if migrate:
        run(name, *migrate)


def sql(statement: str) -> str:
    return run(
        "sql",
        "mariadb",
        "--no-defaults",
        f"--socket={SOCKET}",
        "--user=root",
        "--skip-column-names",
        "-e",
        statement,
    ).strip()


def start_wsgi(name: str, file: str, processes: int, **environment: str) -> None:
    start(
        name, "uwsgi", "--plugin=python3", f"--http-socket=127.0.0.1:{PORT[name]}", f"--wsgi-file={file}",
        "--master", f"--processes={processes}", "--threads=4", "--enable-threads",
        "--thunder-lock", "--lazy-apps", "--buffer-size=65535",
        "--die-on-term", "--no-orphans", "--need-app", "--disable-logging",
        "--add-header=Connection: close",  # this socket keeps no connection, and clients must know
        **environment,
    )  # fmt: skip


STAGES = (infra, libvirtd, keystone, glance, placement, nova, neutron, ceph, cinder, compute, resources)
