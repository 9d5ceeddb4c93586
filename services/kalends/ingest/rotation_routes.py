"""The operation table's row for rotations of the key-encryption key.

A newcomer would get wrong: a rotation does not make a key-encryption key; whoever keeps it does, and then asks for this.
"""

from msgspec import Struct

from kalends.edge.long_work import OperationStarted
from kalends.edge.operations import Answer, Call, Operation
from kalends.edge.services import Loop, Service
from kalends.ingest.rotating import KeyRotations


class KeyRotationIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked of a rotation; a dry run only counts keys by the key-encryption key that they need."""

    dry_run: bool = False


class KeyRotationRoutes:
    """``/admin/key-rotations``."""

    def __init__(self, rotations: KeyRotations) -> None:
        self._rotations = rotations

    async def start(self, call: Call) -> Answer:
        """Wrap every data key under the newest key-encryption key, while everything serves."""
        body: KeyRotationIn = call.body
        begun = await self._rotations.ask("all", dry_run=body.dry_run)
        return Answer(body=OperationStarted(operation_id=begun.operation_id))


def service(rotations: KeyRotations) -> Service:
    """Rotations as a service: its row, its loops and how the keys are."""
    routes = KeyRotationRoutes(rotations)
    row = Operation(
        name="key_rotations.start",
        method="POST",
        path="/admin/key-rotations",
        right="admin",
        summary="Wrap every data key under the newest key-encryption key, while everything serves",
        handle=routes.start,
        answer=OperationStarted,
        status=202,
        body=KeyRotationIn,
    )
    loops = [Loop(name="keys.rotations", run=rotations.run), Loop(name="keys.watch", run=rotations.watch)]
    return Service(name="keys", operations=[row], loops=loops, health=rotations.health, long_work=[rotations])
