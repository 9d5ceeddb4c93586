"""What goes wrong with a bucket, and what it is called here.

Belongs here: ``BUCKET_ERRORS``, the most specific first. Does not belong here: errors of ours. A newcomer would get wrong: the client says
"not found" with an error of the language itself, for an object as for a bucket; and nothing that the server said is part of an error, for
it may name keys.
"""

from collections.abc import Mapping
from typing import Final

from obstore import exceptions

from kalends.domain.errors import Conflict, KalendsError, NotFound, Unavailable

DEPENDENCY = "s3"

BUCKET_ERRORS: Final[Mapping[type[Exception], type[KalendsError]]] = {
    exceptions.AlreadyExistsError: Conflict,
    exceptions.PreconditionError: Conflict,
    FileNotFoundError: NotFound,
    exceptions.PermissionDeniedError: Unavailable,
    exceptions.UnauthenticatedError: Unavailable,
    exceptions.BaseError: Unavailable,
}


def translate(error: Exception, *, bucket: str, name: str, writing: bool) -> KalendsError:
    """What to raise instead of *error*, which the client raised about the object *name*."""
    kind = next(ours for foreign, ours in BUCKET_ERRORS.items() if isinstance(error, foreign))
    if kind is Conflict:
        return Conflict(f"{name} is in the archive already")
    if kind is NotFound and not writing:
        return NotFound(f"the archive has no {name}")
    if kind is NotFound:
        detail = f"there is no bucket {bucket}"
    elif isinstance(error, (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)):
        detail = f"the bucket {bucket} refuses our key"
    else:
        detail = f"the bucket {bucket} cannot be used: {type(error).__name__}"
    return Unavailable(detail, dependency=DEPENDENCY, retry_after=5.0)
