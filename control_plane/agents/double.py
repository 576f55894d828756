"""The agent of a cloud that runs nothing: it reports that all is as its directive wants."""

from control_plane.agents import directive, service
from control_plane.instances.models import Instance
from guest_agent import PROTOCOL, __version__
from guest_agent.protocol import (
    ABILITIES,
    DesiredDatabase,
    DesiredUser,
    Directive,
    Outcome,
    Report,
    SeenConfiguration,
    SeenDatabase,
    SeenEngine,
    SeenUser,
)


def play(instance: Instance) -> None:
    """Bring the instance's report up to date, inside a transaction on it."""
    if instance.converged_revision == instance.desired_revision and instance.ready:
        return
    wanted = directive.build(instance)
    while wanted is not None and instance.converged_revision < instance.desired_revision:
        service.store(instance, _report(wanted))  # drops make a further directive
        wanted = directive.build(instance)


def _report(wanted: Directive) -> Report:
    return Report(
        protocol=PROTOCOL,
        abilities=ABILITIES,
        run="double",
        sequence=0,
        agent_version=__version__,
        etag=wanted["etag"],
        converged_etag=wanted["etag"],
        engine=SeenEngine(
            state="running",
            version=wanted["engine"]["version"],
            started_at=None,
            restarts=0,
            message="",
        ),
        volume_used=0,
        configuration=SeenConfiguration(in_sync=True, pending_restart=[], errors={}),
        restart_done=wanted["restart"],
        databases=[_done(item) for item in wanted["databases"]],
        users=[_done(item) for item in wanted["users"]],
        seen_databases=[
            SeenDatabase(
                name=item["name"],
                character_set=item["character_set"],
                collation=item["collation"],
                owner=item["owner"],
            )
            for item in wanted["databases"]
            if item["state"] == "present"
        ],
        seen_users=[
            SeenUser(name=item["name"], host=item["host"], grants=item["grants"])
            for item in wanted["users"]
            if item["state"] == "present"
        ],
        repairs=[],
        wait=0,
    )


def _done(wanted: DesiredDatabase | DesiredUser) -> Outcome:
    return Outcome(id=wanted["id"], generation=wanted["generation"], done=True, message="")
