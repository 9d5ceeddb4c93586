"""The model as a whole: everything is bounded and described, agrees with Kalends, and reads what it wrote."""

import typing
from collections.abc import Iterator

import msgspec
import pytest
from msgspec import inspect as types
from tests.support.kubernetes import samples

from kalends.domain import erasures as domain_erasures
from kalends.domain import redaction
from kalends.domain.credentials import ROLES
from kalends.edge.tokens import MOST_OVERLAP_S
from kalends.ingest import erasing_schemas, hand_over_routes, retention_schemas
from kalends.ingest import schemas as ingest
from kalends_operator.crds import erasures, manifests, memories
from kalends_operator.crds.resources import RESOURCES, Resource
from kalends_operator.crds.schemas import Schema

MOMENT = "2026-11-22T10:00:00Z"
LONGEST_MESSAGE = 160
ROOM = 500


def schema(resource: Resource) -> Schema:
    """The whole schema of a kind."""
    (version,) = manifests.manifest(resource)["spec"]["versions"]
    found: Schema = version["schema"]["openAPIV3Schema"]
    return found


def parts(found: Schema, place: str = "") -> Iterator[tuple[str, Schema]]:
    """Every part of a schema with its place."""
    yield place, found
    for name, part in found.get("properties", {}).items():
        yield from parts(part, f"{place}.{name}")
    for name in ("items", "additionalProperties"):
        if name in found:
            yield from parts(found[name], f"{place}[]")


ALL = [(f"{resource.kind}{place}", part) for resource in RESOURCES for place, part in parts(schema(resource))]
RULES = [(place, rule) for place, part in ALL for rule in part.get("x-kubernetes-validations", ())]


def written(value: object, place: str = "") -> Iterator[str]:
    """The places of everything that a document says."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield f"{place}.{name}"
            yield from written(part, f"{place}.{name}")


def bounds(struct: type, name: str) -> dict[str, typing.Any]:
    """The bounds of a field."""
    info = types.type_info(struct)
    assert isinstance(info, types.StructType)
    found: object = next(field.type for field in info.fields if field.name == name)
    while isinstance(found, types.Metadata | types.UnionType):
        found = found.type if isinstance(found, types.Metadata) else found.types[0]
    return {key: value for key in ("ge", "le", "max_length", "values") if (value := getattr(found, key, None)) is not None}


def choices(literal: object) -> set[str]:
    """The texts of a Literal."""
    return set(typing.get_args(literal))


def test_everything_has_a_bound():
    """The API server reckons what a rule may cost from these, and an object is as large as they let it be."""
    wanted = {"string": "maxLength", "array": "maxItems", "integer": "maximum"}
    unbounded = [place for place, part in ALL if wanted.get(part["type"], "type") not in part]
    unbounded += [place for place, part in ALL if "additionalProperties" in part and "maxProperties" not in part]

    assert unbounded == []


def test_every_field_says_what_it_is():
    """``kubectl explain`` has an answer everywhere."""
    assert [place for place, part in ALL if not place.endswith(("[]", ".metadata")) and not part.get("description")] == []


def test_every_list_says_who_owns_it():
    """A set or keyed by something, so that two who apply do not overwrite each other."""
    assert [place for place, part in ALL if part["type"] == "array" and part.get("x-kubernetes-list-type") not in {"set", "map"}] == []


def test_every_rule_has_a_message_that_goes_on_a_line():
    """For people, without a full stop, as the server goes on after it."""
    messages = {rule["message"] for _, rule in RULES}

    assert messages
    assert {text for text in messages if len(text) > LONGEST_MESSAGE or text.endswith(".") or "\n" in text} == set()


def test_every_rule_has_a_sample_that_breaks_it():
    """A rule that nobody ever saw refuse anything may be one that cannot. Rules of changes have their own test on the server."""
    said = " ".join(expected for _, expected in map(samples.bad, samples.BAD))

    assert {rule["message"] for _, rule in RULES if "oldSelf" not in rule["rule"] and rule["message"] not in said} == set()


def test_every_field_of_a_spec_is_in_a_good_sample():
    """Whoever looks for how a field is written finds it."""
    shown = {f"{document['kind']}{place}" for document in map(samples.good, samples.GOOD) for place in written({"spec": document["spec"]})}
    known = {place for place, _ in ALL if ".spec" in place and "[]" not in place}

    assert known - shown == set()


@pytest.mark.parametrize("name", samples.GOOD)
def test_a_good_sample_is_read_and_written_without_loss(name):
    """What the operator reads is what somebody wrote."""
    document = samples.good(name)
    (resource,) = (one for one in RESOURCES if one.kind == document["kind"])
    spec = msgspec.convert(document["spec"], resource.spec)

    assert msgspec.convert(msgspec.to_builtins(spec), resource.spec) == spec
    assert set(written(document["spec"])) - set(written(msgspec.to_builtins(spec))) <= _defaults(resource)


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.kind)
def test_a_whole_status_is_read_and_written_without_loss(resource):
    """Every field has one name on both ways, and every kind has its conditions."""
    given = samples.full_status(resource, at=MOMENT)
    status = msgspec.convert(given, resource.status)

    assert msgspec.json.decode(msgspec.json.encode(status)) == given
    assert {one.type for one in status.conditions} == set(samples.conditions(resource))


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.kind)
def test_an_empty_status_says_nothing(resource):
    """What is not known is not written, so that nobody takes it for a zero."""
    assert msgspec.to_builtins(resource.status()) == {}


def test_bounds_are_those_of_kalends():
    """What the API server admits the platform takes; the description leaves room for a line of the operator's."""
    pairs = [
        (memories.RetentionRule, "max_age_days", retention_schemas.RetentionRule, "max_age_days"),
        (memories.RetentionRule, "max_events", retention_schemas.RetentionRule, "max_events"),
        (memories.Retention, "kinds", retention_schemas.Retention, "kinds"),
        (memories.Retention, "pinned_kinds", retention_schemas.Retention, "pinned_kinds"),
        (memories.Quota, "events", ingest.Quota, "events"),
        (memories.Quota, "bytes", ingest.Quota, "bytes"),
        (memories.Redaction, "kinds", ingest.Redaction, "kinds"),
        (memories.AgentMemorySpec, "isolation", ingest.MemoryIn, "isolation"),
        (memories.HandOver, "reason", hand_over_routes.HandOverIn, "reason_code"),
        (erasures.Selector, "event_ids", erasing_schemas.SelectorIn, "event_ids"),
        (erasures.MemoryErasureSpec, "reason", erasing_schemas.ErasureIn, "reason"),
        (erasures.MemoryErasureSpec, "undo_seconds", erasing_schemas.ErasureIn, "undo_s"),
    ]

    assert [(ours, name) for ours, name, theirs, other in pairs if bounds(ours, name) != bounds(theirs, other)] == []
    assert bounds(memories.Access, "token_overlap_seconds")["le"] == MOST_OVERLAP_S
    assert bounds(memories.AgentMemorySpec, "description")["max_length"] <= bounds(ingest.MemoryIn, "description")["max_length"] - ROOM


def test_words_are_those_of_kalends():
    """But for ``leave``, because ``off`` is a boolean in YAML, and for admins, who are not made by a resource."""
    assert choices(memories.Action) == {"leave" if action == "off" else action for action in redaction.ACTIONS}
    assert tuple(field.name for field in msgspec.structs.fields(memories.Actions)) == redaction.CATEGORIES
    assert choices(memories.Role) == ROLES.keys() - {"admin"}
    assert choices(erasures.State) == {*domain_erasures.STATES, "waiting", "failed"}


def _defaults(resource: Resource) -> set[str]:
    """The places of a spec at which there is a default: a sample may spell it out."""
    return {place.partition(".spec")[2] for place, part in ALL if place.startswith(f"{resource.kind}.spec") and "default" in part}
