"""Where the test bed lives, its ports, and the configuration written from etc/."""

import os
import shutil
from pathlib import Path

HERE = Path(__file__).resolve().parent
STATE = Path(os.environ.get("TESTBED_STATE", "/var/tmp/coffret-testbed"))
ETC = STATE / "etc"
LOGS = STATE / "logs"
RUN = STATE / "run"
SOCKET = RUN / "mariadb.sock"

# The usual ports plus 10000, below the kernel's range for clients: nothing else here has them.
PORT = {
    "keystone": 15000,
    "glance": 19292,
    "placement": 18778,
    "nova": 18774,
    "neutron": 19696,
    "cinder": 18776,
    "mariadb": 13306,
    "memcached": 21211,
    "rabbitmq": 15672,
    "rabbitmq-cluster": 25672,
    "epmd": 14369,
    "ceph": 13300,
    "ceph-v1": 16789,
}
KEYSTONE = f"http://127.0.0.1:{PORT['keystone']}/v3"
PASSWORD = "testbed"
MANAGEMENT_ADDRESS = "10.79.0.1"  # the host's, on the network by which guests reach the control plane
DATABASE = f"mysql+pymysql://openstack:{PASSWORD}@127.0.0.1:{PORT['mariadb']}"
# Of the guest image: all that costs time under emulation is off.
KERNEL_ARGS = "mitigations=off audit=0 apparmor=0 tsc=unstable no_timer_check"
# Each cloud of clouds.yaml: its user and project.
CLOUDS = {"lab-admin": ("admin", "admin"), "lab-demo": ("demo", "demo"), "coffret": ("coffret", "coffret")}


def write() -> None:
    """Write etc/, bin/, clouds.yaml and env into the state folder."""
    for folder in (ETC, LOGS, RUN, STATE / "made"):
        folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(HERE / "bin", STATE / "bin", dirs_exist_ok=True)
    values = {
        "state": STATE,
        "port": PORT,
        "database": DATABASE,
        "rabbitmq": f"rabbit://guest:guest@127.0.0.1:{PORT['rabbitmq']}/",
        "login_of": {name: login_of(name) for name in ("nova", "cinder")},
        "tokens_for": {
            name: tokens_for(name) for name in ("glance", "placement", "nova", "neutron", "cinder")
        },
    }
    for template in (HERE / "etc").glob("*/*"):
        target = ETC / template.relative_to(HERE / "etc")
        target.parent.mkdir(exist_ok=True)
        target.write_text(template.read_text().format_map(values))
    (STATE / "clouds.yaml").write_text("clouds:\n" + "".join(cloud(*item) for item in CLOUDS.items()))
    (STATE / "env").write_text(
        f"export OS_CLIENT_CONFIG_FILE={STATE}/clouds.yaml OS_CLOUD=coffret\n"
        f"export GUEST_KERNEL_ARGS='{KERNEL_ARGS}'\n"
    )


def login_of(user: str) -> str:
    """The lines of a section by which a service logs in as `user`."""
    return (
        f"auth_type = password\nauth_url = {KEYSTONE}\nregion_name = RegionOne\n"
        f"username = {user}\npassword = {PASSWORD}\nproject_name = service\n"
        "user_domain_name = Default\nproject_domain_name = Default"
    )


def tokens_for(user: str) -> str:
    """The lines of [keystone_authtoken] by which a service checks its callers' tokens."""
    return (
        f"www_authenticate_uri = {KEYSTONE}\nmemcached_servers = 127.0.0.1:{PORT['memcached']}\n"
        f"service_token_roles = service\nservice_token_roles_required = true\n{login_of(user)}"
    )


def cloud(name: str, account: tuple[str, str]) -> str:
    user, project = account
    return (
        f"  {name}:\n    region_name: RegionOne\n    identity_api_version: 3\n    auth:\n"
        f"      auth_url: {KEYSTONE}\n      username: {user}\n      password: {PASSWORD}\n"
        f"      project_name: {project}\n"
        "      user_domain_name: Default\n      project_domain_name: Default\n"
    )
