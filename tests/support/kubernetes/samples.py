"""The samples of resources: the good ones, the bad ones with what is said to them, and whole statuses made from the model.

Belongs here: reading and making. Does not belong here: asking a server. A newcomer would get wrong: the name of a sample is its file's; the
name of its object is another matter.
"""

import typing
from typing import Any

from msgspec import inspect as types

from kalends_operator.crds.resources import Resource
from tests.architecture.sources import ROOT, TESTS
from tests.support.kubernetes.api import Object, documents

_GOOD = ROOT / "k8s" / "samples"
_BAD = TESTS / "kubernetes" / "samples" / "bad"
_REFUSED = "# refused: "

GOOD = sorted(path.stem for path in _GOOD.glob("*.yaml") if path.stem != "kustomization")
BAD = sorted(path.stem for path in _BAD.glob("*.yaml"))


def good(name: str) -> Object:
    """A sample that is admitted."""
    (document,) = documents((_GOOD / f"{name}.yaml").read_text(encoding="utf-8"))
    return document


def bad(name: str) -> tuple[Object, str]:
    """A sample that is refused, and what is said of it."""
    text = (_BAD / f"{name}.yaml").read_text(encoding="utf-8")
    first = text.splitlines()[0]
    assert first.startswith(_REFUSED), f"{name}: the first line says what it is refused with"
    (document,) = documents(text)
    return document, first.removeprefix(_REFUSED)


def conditions(resource: Resource) -> tuple[str, ...]:
    """The types of conditions that a kind has."""
    return typing.get_args(getattr(resource.status, "CONDITIONS"))  # noqa: B009 - the base class of all structs does not have it


def condition(type_: str, *, at: str) -> Object:
    """A condition that says yes."""
    return {"type": type_, "status": "True", "reason": "Tested", "lastTransitionTime": at, "message": "so it is", "observedGeneration": 1}


def full_status(resource: Resource, *, at: str) -> Object:
    """A status of that kind in which every field says something."""
    found = types.type_info(resource.status)
    assert isinstance(found, types.StructType)
    status: Object = {field.encode_name: _value(field.type, at=at) for field in found.fields}
    status["conditions"] = [condition(type_, at=at) for type_ in conditions(resource)]
    return status


def _value(found: types.Type, *, at: str) -> Any:
    match found:
        case types.Metadata():
            value = _value(found.type, at=at)
        case types.UnionType():
            value = _value(next(one for one in found.types if not isinstance(one, types.NoneType)), at=at)
        case types.StructType():
            value = {field.encode_name: _value(field.type, at=at) for field in found.fields}
        case types.DictType():
            value = {"one": _value(found.value_type, at=at)}
        case types.VarTupleType():
            value = [_value(found.item_type, at=at)]
        case types.LiteralType():
            value = found.values[0]
        case types.IntType():
            value = found.le
        case types.DateTimeType():
            value = at
        case _:
            value = "a"
    return value
