"""Conditions of a status, and the reference from one resource to another.

Belongs here: what more than one kind of resource has. Does not belong here: which conditions there are; each kind says so itself. A
newcomer would get wrong: the list is keyed by type, so a writer that applies one condition leaves the others alone.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from kalends_operator.crds.scalars import Count, Moment, ObjectName, Text


class Condition(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One thing that is so, is not so, or is not known. ``type`` is one of those that the kind of resource names."""

    type: Annotated[str, Meta(max_length=64, description="What this is about.")]
    status: Annotated[Literal["True", "False", "Unknown"], Meta(description="Whether it is so.")]
    last_transition_time: Annotated[Moment, Meta(description="When the status last changed.")]
    reason: Annotated[str, Meta(min_length=1, max_length=128, description="Why, as one word for programs.")]
    message: Annotated[Text, Meta(description="Why, for people; never content of a memory.")] = ""
    observed_generation: Annotated[Count | None, Meta(description="The generation of the spec that this was said of.")] = None


class Reference(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An object in the same namespace."""

    name: Annotated[ObjectName, Meta(description="The name of the object.")]
