"""From a struct to the structural schema that a CRD carries.

Belongs here: what becomes of each type, bound, default and rule. Does not belong here: what a resource is (``resources``). A newcomer would
get wrong: a structural schema is a small part of OpenAPI: no references, no unions, no null; so an optional field is one that is not
required, and a type that has no place in it is refused when the CRDs are made rather than when they are applied.
"""

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import NODEFAULT
from msgspec import inspect as types

from kalends_operator.crds.rules import Rule

Schema = dict[str, Any]
Value = TypeVar("Value")

_MOMENT = {"type": "string", "format": "date-time", "maxLength": 40}


class Unstructural(Exception):
    """A type that a structural schema cannot say; the message names the field."""


def schema_of(struct: type[msgspec.Struct]) -> Schema:
    """The structural schema of *struct*; its own docstring is the description.

    Raises:
        Unstructural: a field has a type that a CRD cannot have, or lacks a bound or a description.
    """
    return _of(types.type_info(struct), where=struct.__name__)


def _of(found: types.Type, *, where: str) -> Schema:
    match found:
        case types.Metadata():
            return _of(found.type, where=where) | _said(found.extra_json_schema or {}) | _kept_by(found.extra or {})
        case types.UnionType():
            return _of(_only(found, where=where), where=where)
        case types.StructType():
            return _object(found.cls, found.fields, where=where)
        case types.DictType() | types.ListType() | types.VarTupleType():
            return _collection(found, where=where)
        case _:
            return _scalar(found, where=where)


def _scalar(found: types.Type, *, where: str) -> Schema:
    schema: Schema
    match found:
        case types.LiteralType():
            if not all(isinstance(value, str) for value in found.values):
                raise Unstructural(f"{where}: only texts can be enumerated")
            schema = {"type": "string", "enum": list(found.values), "maxLength": max(len(str(value)) for value in found.values)}
        case types.StrType():
            most = _bound(found.max_length, where=where, name="max_length")
            schema = _present({"type": "string", "minLength": found.min_length, "maxLength": most})
        case types.IntType():
            low, high = (_bound(value, where=where, name=name) for value, name in ((found.ge, "ge"), (found.le, "le")))
            schema = {"type": "integer", "format": "int64", "minimum": low, "maximum": high}
        case types.BoolType():
            schema = {"type": "boolean"}
        case types.DateTimeType():
            schema = dict(_MOMENT)
        case _:
            raise Unstructural(f"{where}: {type(found).__name__} has no place in a CRD")
    return schema


def _collection(found: types.DictType | types.ListType | types.VarTupleType, *, where: str) -> Schema:
    most = _bound(found.max_length, where=where, name="max_length")
    if isinstance(found, types.DictType):
        values = _of(found.value_type, where=f"{where}{{}}")
        return {"type": "object", "additionalProperties": values, "maxProperties": most}
    items = _of(found.item_type, where=f"{where}[]")
    return _present({"type": "array", "items": items, "minItems": found.min_length, "maxItems": most})


def _object(struct: type, fields: tuple[types.Field, ...], *, where: str) -> Schema:
    schema: Schema = {"type": "object", "description": _first_paragraph(struct), "properties": {}}
    for field in fields:
        place = f"{where}.{field.encode_name}"
        found = _of(field.type, where=place)
        if "description" not in found or _is_bare(field.type):
            raise Unstructural(f"{place}: say what it is")
        default = _default(field, found)
        if default is not None:
            found["default"] = default
        schema["properties"][field.encode_name] = found
    required = [field.encode_name for field in fields if field.required]
    if required:
        schema["required"] = required
    rules: tuple[Rule, ...] = getattr(struct, "RULES", ())
    if rules:
        schema["x-kubernetes-validations"] = _validations(rules)
    return schema


def _only(found: types.UnionType, *, where: str) -> types.Type:
    others = [one for one in found.types if not isinstance(one, types.NoneType)]
    if len(others) != 1:
        raise Unstructural(f"{where}: a union of several types")
    return others[0]


def _said(extra: Mapping[str, Any]) -> Schema:
    return {"description": extra["description"]} if "description" in extra else {}


def _kept_by(extra: Mapping[str, Any]) -> Schema:
    """What a type says beside its bounds: its rules, that a list is a set or keyed, and words that are computed."""
    schema: Schema = {}
    if "enum" in extra:
        schema["enum"] = list(extra["enum"])
    if "set" in extra:
        schema["x-kubernetes-list-type"] = "set"
    if "keyed_by" in extra:
        schema |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [extra["keyed_by"]]}
    if "rules" in extra:
        schema["x-kubernetes-validations"] = _validations(extra["rules"])
    return schema


def _default(field: types.Field, schema: Schema) -> Any:
    """What the server fills in; None: nothing. What is empty here is simply absent there.

    The default of an object is whole: the server checks it by the object's rules before it fills in the defaults of its parts.
    """
    if field.default in (None, "", ()) or field.default is NODEFAULT:
        return None
    given = msgspec.to_builtins(field.default)
    if not isinstance(field.default, msgspec.Struct):
        return given
    return {name: part["default"] for name, part in schema["properties"].items() if "default" in part} | _present(given)


def _is_bare(found: types.Type) -> bool:
    """Whether a field says nothing of itself, so that the description would be the one of its type."""
    return not (isinstance(found, types.Metadata) and "description" in (found.extra_json_schema or {})) and not (
        isinstance(found, types.UnionType) and any(not _is_bare(one) for one in found.types)
    )


def _validations(rules: tuple[Rule, ...]) -> list[dict[str, str]]:
    return [{"rule": rule.cel, "message": rule.message} for rule in rules]


def _bound(value: Value | None, *, where: str, name: str) -> Value:
    if value is None:
        raise Unstructural(f"{where}: needs {name}, or its rules could cost too much")
    return value


def _present(schema: Schema) -> Schema:
    return {name: value for name, value in schema.items() if value is not None}


def _first_paragraph(struct: type) -> str:
    return " ".join((inspect.getdoc(struct) or "").split("\n\n")[0].split())
