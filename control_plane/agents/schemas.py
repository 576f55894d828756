"""What a report must look like; guest_agent.protocol says what it means."""

from typing import Any

import marshmallow as ma
from marshmallow import fields

NAME = ma.validate.Length(1, 400)
SENTENCE = ma.validate.Length(0, 20_000)
MANY = ma.validate.Length(0, 20_000)


class Document(ma.Schema):
    """Unknown fields are left out: a newer agent may say more."""

    class Meta:
        unknown = ma.EXCLUDE


def text(required: bool = True, none: bool = False, **more: Any) -> fields.String:
    return fields.String(required=required, allow_none=none, **{"validate": SENTENCE} | more)


def whole() -> fields.Integer:
    return fields.Integer(required=True, strict=True, validate=ma.validate.Range(0, 2**53))


def flag() -> fields.Boolean:
    return fields.Boolean(required=True, truthy={True}, falsy={False})


class GrantSchema(Document):
    privileges = fields.List(fields.String(validate=SENTENCE), required=True)
    database = text(required=False, none=True)
    keys = fields.List(fields.String(validate=SENTENCE))
    channels = fields.List(fields.String(validate=SENTENCE))


class OutcomeSchema(Document):
    id = text(validate=NAME)
    generation = whole()
    done = flag()
    message = text()


class SeenDatabaseSchema(Document):
    name = text(validate=NAME)
    character_set = text(none=True)
    collation = text(none=True)
    owner = text(none=True)


class SeenUserSchema(Document):
    name = text(validate=NAME)
    host = text(validate=NAME)
    grants = fields.List(fields.Nested(GrantSchema), required=True)
    owns = fields.List(fields.String(validate=NAME), validate=MANY)


class EngineSchema(Document):
    state = text(validate=ma.validate.OneOf(["preparing", "starting", "running", "stopped", "failed"]))
    version = text(none=True)
    started_at = text(none=True)
    restarts = whole()
    message = text()


class PendingSchema(Document):
    name = text(validate=NAME)
    running = text(none=True)
    desired = text(none=True)


class ConfigurationSchema(Document):
    in_sync = flag()
    pending_restart = fields.List(fields.Nested(PendingSchema), required=True, validate=MANY)
    errors = fields.Dict(fields.String(validate=NAME), text(), required=True, validate=MANY)


class ReportSchema(Document):
    protocol = whole()
    abilities = fields.List(fields.String(validate=NAME), validate=ma.validate.Length(0, 100))
    run = text(validate=NAME)
    sequence = whole()
    agent_version = text(validate=NAME)
    etag = text(none=True)
    converged_etag = text(none=True)
    engine = fields.Nested(EngineSchema, required=True)
    volume_used = whole()
    configuration = fields.Nested(ConfigurationSchema, required=True)
    restart_done = text(none=True)
    databases = fields.List(fields.Nested(OutcomeSchema), required=True, validate=MANY)
    users = fields.List(fields.Nested(OutcomeSchema), required=True, validate=MANY)
    seen_databases = fields.List(fields.Nested(SeenDatabaseSchema), required=True, validate=MANY)
    seen_users = fields.List(fields.Nested(SeenUserSchema), required=True, validate=MANY)
    repairs = fields.List(text(), required=True, validate=ma.validate.Length(0, 1000))
    wait = fields.Float(required=True, validate=ma.validate.Range(0, 60))


class RegistrationSchema(Document):
    instance_id = text(validate=ma.validate.Length(1, 36))
    bootstrap_token = text(validate=ma.validate.Length(1, 200))
