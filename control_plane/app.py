"""Putting the parts together: create_app()."""

import enum
import random
import re
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import flask_migrate
from flask import Flask, Response, current_app, g, request
from werkzeug.middleware.proxy_fix import ProxyFix

import control_plane
from control_plane import logs, metrics, stores
from control_plane.agents.gate import PASSING, Gate
from control_plane.agents.hearing import Attendance, LastWords
from control_plane.agents.spacing import Spacing
from control_plane.agents.views import blueprint as agents
from control_plane.auth import identity
from control_plane.auth.policy import Policy
from control_plane.auth.views import blueprint as tokens_blueprint
from control_plane.clouds import Cloud
from control_plane.configurations.views import blueprint as configuration_groups
from control_plane.database import db, repeated
from control_plane.databases.views import blueprint as databases
from control_plane.datastores.views import blueprint as datastores
from control_plane.events import audit
from control_plane.events.views import blueprint as events
from control_plane.flavors.views import blueprint as flavors
from control_plane.http import health, problems
from control_plane.http.json import StrictJSON
from control_plane.http.openapi import CoffretApi
from control_plane.http.rate_limits import RateLimits
from control_plane.instances.views import blueprint as instances
from control_plane.provider.releases import Releases
from control_plane.provider.views import blueprint as provider
from control_plane.quotas.views import blueprint as quotas
from control_plane.secrets import open_keys
from control_plane.settings import Settings, Work
from control_plane.users.views import blueprint as users
from control_plane.work import turns  # noqa: F401 - the table must be known
from control_plane.work.changes import Changes
from control_plane.work.looking import look_at
from control_plane.work.runner import Runner

MIGRATIONS = Path(__file__).parent / "migrations"
RESOURCES = (
    datastores,
    flavors,
    configuration_groups,
    instances,
    databases,
    users,
    events,
    quotas,
    tokens_blueprint,
)


class _Application(Flask):
    dispatch_request = repeated(Flask.dispatch_request)
    """A view may run again, since it only reads the request and writes in one transaction."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """As it is: nothing here is a coroutine, which Flask would look for a dozen times in a request."""
        return func


class ServerRole(enum.StrEnum):
    """What a process of `coffret serve` is for."""

    ALL = "all"
    API = "api"
    AGENTS = "agents"


def create_app(settings: Settings, cloud: Cloud, role: ServerRole = ServerRole.ALL) -> Flask:
    """The WSGI application. Nothing runs yet: server.py starts what runs beside it.

    Raises SettingsError for a policy file, releases of the provider or, where Keystone is asked, a cloud
    that cannot be used.
    """
    app = _Application(__name__)
    if settings.proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.proxies, x_proto=0, x_host=0)  # type: ignore[method-assign]
    url = settings.sqlalchemy_url
    app.json = StrictJSON(app)
    app.url_map.merge_slashes = False  # what is not a path is a 404, not a redirect
    app.config.update(
        SQLALCHEMY_DATABASE_URI=url,
        SQLALCHEMY_ENGINE_OPTIONS=stores.engine_options(url, _connections(settings, role)),
        MAX_CONTENT_LENGTH=settings.max_body_bytes,
        API_TITLE="Coffret",
        API_VERSION=f"v{control_plane.__version__}",
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/",
        OPENAPI_JSON_PATH="openapi.json",
    )
    db.init_app(app)
    flask_migrate.Migrate(app, db, directory=str(MIGRATIONS))
    app.extensions["coffret_settings"] = settings
    app.extensions["coffret_cloud"] = cloud
    app.extensions["coffret_keys"] = open_keys(settings)
    app.extensions["coffret_policy"] = Policy(settings.policy_file)
    app.extensions["coffret_keystone"] = identity.open_keystone(settings)
    app.extensions["coffret_rate_limits"] = RateLimits(settings)
    app.extensions["coffret_releases"] = Releases.open(settings.provider_dir)
    app.extensions["coffret_changes"] = Changes(
        settings.agents_parked_limit if role == ServerRole.AGENTS else settings.parked_of_a_kind
    )
    app.extensions["coffret_gate"] = Gate()
    app.extensions["coffret_spacing"] = Spacing()
    app.extensions["coffret_last_words"] = LastWords()
    app.extensions["coffret_attendance"] = Attendance(app)
    app.extensions["coffret_runner"] = _runner(app, cloud, settings)
    app.extensions["coffret_health"] = _health(app, cloud, settings, role)
    problems.register(app)
    app.before_request(_number)
    logs.register(app, settings)
    app.after_request(_sign)
    app.register_blueprint(health.blueprint)
    metrics.register(app)
    if role != ServerRole.API:
        app.register_blueprint(agents)
    if role != ServerRole.AGENTS:
        app.before_request(_identify)
        app.after_request(audit.note_refusal)
        app.register_blueprint(provider)
        api = CoffretApi(app)
        for blueprint in RESOURCES:
            api.register_blueprint(blueprint)
    return app


def _runner(app: Flask, cloud: Cloud, settings: Settings) -> Runner:
    if settings.work is Work.INLINE:
        return Runner(partial(look_at, app, cloud), settings.runner_threads)
    settings.check_celery()
    from control_plane.work.broker import Broker

    broker = Broker(settings)
    return Runner(broker.hand_over, threads=1, close=broker.close)


def _health(app: Flask, cloud: Cloud, settings: Settings, role: ServerRole) -> health.Health:
    probes = [health.database(app)]
    if settings.work is Work.CELERY:
        from control_plane.work.broker import check

        probes.append(health.broker(partial(check, settings)))
    if role != ServerRole.AGENTS:  # which never asks it
        probes.append(health.cloud(cloud))
    return health.Health(*probes)


def _connections(settings: Settings, role: ServerRole) -> int:
    """To the state database, kept open in a process."""
    if settings.database_connections is not None:
        return settings.database_connections
    if role == ServerRole.AGENTS:
        return PASSING + 3  # lookout, attendance and the probe of /readyz
    return settings.threads + settings.runner_threads + 2  # the sweep and the probe


def _number() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if re.fullmatch(r"[\w.:-]{1,64}", given) else _new_request_id()


def _identify() -> None:
    if request.path.startswith("/v1/"):
        g.caller = identity.caller()
        limits: RateLimits = current_app.extensions["coffret_rate_limits"]
        limits.request(g.caller.project_id, request.method)


def _new_request_id() -> str:
    """It need not be hard to guess, so the system isn't asked for random bytes at each request."""
    return f"req-{uuid.UUID(int=random.getrandbits(128), version=4)}"


def _sign(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.get("request_id", "")
    return response
