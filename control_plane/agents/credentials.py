"""How an agent proves which instance it speaks for. Only SHA-256 digests of secrets are kept."""

import hmac
import logging
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Never

from flask import current_app
from sqlalchemy import Select, select

from control_plane.agents import heads
from control_plane.agents.heads import Head
from control_plane.agents.models import Agent
from control_plane.auth.context import address
from control_plane.auth.tokens import digest
from control_plane.database import db, locked, transaction
from control_plane.errors import Unauthenticated
from control_plane.instances.models import Instance
from control_plane.settings import Settings
from control_plane.work.clock import moment
from control_plane.work.lease import Lease

BOOTSTRAP_LIFETIME = 1800.0
"""Seconds."""
OFFER_EVERY = timedelta(minutes=1)
"""How often at most an agent is offered another secret while it has not used the one before."""

log = logging.getLogger(__name__)


class Gone(Exception):
    """The instance does not exist, or no longer."""


@dataclass(frozen=True)
class Bootstrap:
    """A reconcile's way of giving an agent its first credentials (clouds.base.Bootstrap)."""

    lease: Lease

    @property
    def url(self) -> str:
        settings: Settings = current_app.extensions["coffret_settings"]
        scheme = "https" if settings.tls_certificate else "http"
        return settings.agent_url or f"{scheme}://{_reachable(settings.bind)}"

    @property
    def ca(self) -> str | None:
        settings: Settings = current_app.extensions["coffret_settings"]
        return settings.agent_ca.read_text() if settings.agent_ca else None

    @property
    def log_format(self) -> str:
        settings: Settings = current_app.extensions["coffret_settings"]
        return str(settings.log_format)

    @property
    def registered(self) -> bool:
        agent = db.session.get(Agent, self.lease.instance_id)
        registered = agent is not None and agent.secret_hash is not None
        db.session.rollback()
        return registered

    @property
    def waiting(self) -> bool:
        waiting = db.session.scalar(_waiting(self.lease.instance_id).with_only_columns(Agent.instance_id))
        db.session.rollback()
        return waiting is not None

    @property
    def silent(self) -> bool:
        instance = db.session.get_one(Instance, self.lease.instance_id)
        silent = instance.agent_lost
        db.session.rollback()
        return silent

    def accepts(self, token: str) -> bool:
        agent = db.session.scalar(_waiting(self.lease.instance_id))
        accepted = agent is not None and _fits(agent, token)
        db.session.rollback()
        return accepted

    def token(self) -> str:
        token = secrets.token_urlsafe(32)
        with self.lease.fenced() as instance:
            agent = db.session.get(Agent, instance.id) or Agent(instance_id=instance.id)
            agent.bootstrap_hash = digest(token)
            agent.bootstrap_expires_at = moment(BOOTSTRAP_LIFETIME)
            db.session.add(agent)
        return token


def register(instance_id: str, token: str) -> str:
    """Trade a bootstrap token for the agent's secret. Raises Unauthenticated and Gone."""
    secret = secrets.token_urlsafe(32)
    with transaction() as session:
        agent = session.scalar(_waiting(instance_id).with_for_update())
        if agent is None or not _fits(agent, token):
            _refuse(instance_id, "The bootstrap token is used up, too old or not this instance's.")
        agent.bootstrap_hash = agent.bootstrap_expires_at = None
        agent.secret_hash = digest(secret)
        agent.next_secret_hash = agent.former_secret_hash = agent.secret_offered_at = None
        agent.secret_since = moment()
        agent.last_seen_at = moment()
    return secret


@dataclass(frozen=True)
class Claim:
    """Whom an agent says that it speaks for, and its proof."""

    instance_id: str
    secret: str = field(repr=False)


def claim(authorization: str) -> Claim:
    """What `Bearer <instance id>.<secret>` claims. Raises Unauthenticated."""
    scheme, _, text = authorization.partition(" ")
    instance_id, dot, secret = text.strip().partition(".")
    if scheme.lower() != "bearer" or not dot:
        raise Unauthenticated("Agents send `Authorization: Bearer <instance id>.<secret>`.")
    return Claim(instance_id, secret)


def authenticate(claim: Claim) -> Head:
    """The head of the agent that may speak for the instance. Raises Unauthenticated and Gone."""
    head, given = heads.find(claim.instance_id), digest(claim.secret)
    if head is None or given not in (head.secret_hash, head.next_secret_hash):
        if head is not None and given == head.former_secret_hash:
            log.warning(
                "a former secret of the agent of instance %s came from %s", claim.instance_id, address()
            )
        _refuse(claim.instance_id, "The agent's secret is not, or no longer, valid; register again.")
    if given == head.next_secret_hash:
        _take_new(claim.instance_id, given)
    return head


def _take_new(instance_id: str, given: str) -> None:
    """From its first use on the new secret is the only one."""
    with transaction() as session:
        agent = session.get_one(Agent, instance_id, with_for_update=True, populate_existing=True)
        if agent.next_secret_hash != given:
            return  # another sync was first
        agent.former_secret_hash, agent.secret_hash = agent.secret_hash, given
        agent.next_secret_hash = agent.secret_offered_at = None
        agent.secret_since = moment()
    log.info("the agent of instance %s has a new secret", instance_id)


def offer(head: Head) -> str | None:
    """A new secret for the agent if it is time; only its digest is kept.

    Whoever does not get it, or dies before it is kept, goes on with the present one and is offered another.
    """
    settings: Settings = current_app.extensions["coffret_settings"]
    if not _is_due(head, head.now, settings.agent_secret_days):
        return None
    secret = secrets.token_urlsafe(32)
    with transaction() as session:
        query = locked(select(Agent, moment()).where(Agent.instance_id == head.instance_id))
        agent, now = session.execute(query).one()
        if not _is_due(agent, now, settings.agent_secret_days):
            return None
        agent.next_secret_hash = digest(secret)
        agent.secret_offered_at = moment()
    return secret


def _is_due(agent: Agent | Head, now: datetime, days: float) -> bool:
    if not days or (agent.secret_offered_at and agent.secret_offered_at > now - OFFER_EVERY):
        return False
    return agent.secret_since is None or agent.secret_since < now - timedelta(days=days)


def _refuse(instance_id: str, why: str) -> Never:
    if db.session.get(Instance, instance_id) is None:
        raise Gone
    log.warning("refused %s, which spoke for the agent of instance %s: %s", address(), instance_id, why)
    raise Unauthenticated(why)


def _waiting(instance_id: str) -> Select[Agent]:
    """The agent, if it has a bootstrap token that may still be traded in."""
    return select(Agent).where(
        Agent.instance_id == instance_id,
        Agent.bootstrap_hash.is_not(None),
        Agent.bootstrap_expires_at > moment(),
    )


def _fits(agent: Agent, token: str) -> bool:
    return hmac.compare_digest(agent.bootstrap_hash or "", digest(token))


def _reachable(bind: str) -> str:
    """Where an agent on this machine finds a server bound to all addresses."""
    host, _, port = bind.rpartition(":")
    return f"127.0.0.1:{port}" if host in ("", "0.0.0.0", "[::]") else bind  # noqa: S104
