"""Settings of what guards an instance: the audit, the network it may speak to, how much anybody may ask.

Belongs here: groups of the tree. Does not belong here: enforcing them. A newcomer would get wrong: a rate of 0 is no limit, and does not
mean that nothing is allowed.
"""

from typing import Annotated

from msgspec import Meta, Struct


class NetworkSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be spoken to."""

    local_only: Annotated[
        bool,
        Meta(description="Refuse to start with any address outside loopback and network.allowed, be it of a store, a model or an issuer."),
    ] = False
    allowed: Annotated[
        str,
        Meta(description="What local_only allows beside loopback: host, host:port or a network such as 10.0.0.0/8, with commas between."),
    ] = ""


class LimitSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much may be asked of one process. Rates hold for each credential and, apart from it, for each memory; 0: no limit."""

    requests_per_s: Annotated[float, Meta(ge=0, description="Requests a second of a credential, and of a memory.")] = 0.0
    bytes_per_s: Annotated[float, Meta(ge=0, description="Bytes of request bodies a second.")] = 0.0
    events_per_s: Annotated[float, Meta(ge=0, description="Events a second that are sent to be stored.")] = 0.0
    tokens_per_s: Annotated[float, Meta(ge=0, description="Tokens a second of the contexts that are answered.")] = 0.0
    burst_s: Annotated[float, Meta(gt=0, description="Time of a rate that may be used at once, in seconds.")] = 2.0
    searches_at_once: Annotated[int, Meta(ge=1, description="Searches and contexts at once; who waits is served in turns of tenants.")] = 8
    searches_per_memory: Annotated[int, Meta(ge=1, description="Searches and contexts of one memory at once.")] = 4
    writes_at_once: Annotated[int, Meta(ge=1, description="Requests that store events or documents at once, in turns of tenants.")] = 256
    waiting_max: Annotated[int, Meta(ge=1, description="Requests of one tenant that may wait for a turn; more get 429.")] = 1000
    known_max: Annotated[int, Meta(ge=100, description="Credentials and memories that are kept account of, the ones that came last.")] = (
        10_000
    )


class ApprovalSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What waits for a second person."""

    operations: Annotated[
        str,
        Meta(
            pattern="^((erase_everything|hand_over|restore)(,(erase_everything|hand_over|restore))*)?$",
            description="What another admin must approve first: erase_everything, hand_over, restore; empty: nothing.",
        ),
    ] = ""
    expire_s: Annotated[float, Meta(gt=0, description="How long a request waits for the second person, in seconds.")] = 86_400.0


class AuditSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The audit."""

    writes: Annotated[
        str,
        Meta(
            pattern="^(each|counted)$",
            description="Calls that store events or documents: counted, those alike of a second are one entry that none waits for; "
            "each, every one waits for its own entry, as all other calls that change something do.",
        ),
    ] = "counted"
