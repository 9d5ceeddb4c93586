"""Rules that the API server checks for us, as CEL with a message for people.

Belongs here: the value, and those that more than one resource needs. Does not belong here: a rule of one resource; it stands beside its
fields. A newcomer would get wrong: a rule that names ``oldSelf`` is checked on updates only, and only where the value was there before and
is there afterwards, so what must not appear or vanish is checked one level higher.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A CEL expression over ``self`` (and ``oldSelf``) that must be true, and what whoever breaks it is told."""

    cel: str
    message: str


def matches(pattern: str, *, message: str) -> Rule:
    """The whole text matches *pattern* (RE2); a ``pattern`` of the schema itself would answer with the expression."""
    # in a raw text of CEL a backslash is a backslash
    return Rule(cel=f"self.matches(r'^({pattern})$')", message=message)


def immutable(name: str, *, message: str) -> Rule:
    """The field *name* stays as it is, also absent; for the rules of the object that holds it."""
    same = f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || self.{name} == oldSelf.{name})"
    return Rule(cel=same, message=message)


def kept(name: str, *, message: str) -> Rule:
    """The field *name* stays as it is once it is there; for the rules of the object that holds it."""
    return Rule(cel=f"!has(oldSelf.{name}) || (has(self.{name}) && self.{name} == oldSelf.{name})", message=message)


def exactly_one(*given: str, message: str) -> Rule:
    """Exactly one of the expressions *given* is true."""
    return Rule(cel=f"[{', '.join(given)}].exists_one(given, given)", message=message)


NOTHING_CHANGES = Rule(cel="self == oldSelf", message="the spec cannot be changed; make a new object")
