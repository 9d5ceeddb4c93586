"""Structs become structural schemas, and what a CRD cannot say is refused when they are made."""

from typing import Annotated, Any, ClassVar, Literal

import msgspec
import pytest
from msgspec import Meta

from kalends_operator.crds.rules import Rule
from kalends_operator.crds.schemas import Unstructural, schema_of

TEXT = Annotated[str, Meta(max_length=8, extra={"rules": (Rule(cel="self != ''", message="must say something"),)})]


class Inner(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Something inside."""

    how_many: Annotated[int, Meta(ge=1, le=9, description="How many.")] = 3
    choice: Annotated[Literal["a", "bc"] | None, Meta(description="One of them.")] = None


class Outer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Something outside.

    With more that is not for users.
    """

    RULES: ClassVar[tuple[Rule, ...]] = (Rule(cel="has(self.inner)", message="needs an inside"),)

    name: Annotated[TEXT, Meta(description="Its name.")]
    inner: Annotated[Inner, Meta(description="Its inside.")] = Inner()
    texts: Annotated[tuple[TEXT, ...], Meta(max_length=4, extra={"set": True}, description="Texts.")] = ()
    by_name: Annotated[dict[str, Inner], Meta(max_length=5, description="Insides.")] = {}
    flag: Annotated[bool, Meta(description="A flag.")] = False


def test_a_struct_becomes_an_object_with_its_bounds_defaults_and_rules():
    """Names as they are written in YAML, bounds on everything, and the default of an object is whole."""
    inner = {
        "type": "object",
        "properties": {
            "howMany": {"type": "integer", "format": "int64", "minimum": 1, "maximum": 9, "description": "How many.", "default": 3},
            "choice": {"type": "string", "enum": ["a", "bc"], "maxLength": 2, "description": "One of them."},
        },
    }
    text = {"type": "string", "maxLength": 8, "x-kubernetes-validations": [{"rule": "self != ''", "message": "must say something"}]}

    assert schema_of(Outer) == {
        "type": "object",
        "description": "Something outside.",
        "required": ["name"],
        "x-kubernetes-validations": [{"rule": "has(self.inner)", "message": "needs an inside"}],
        "properties": {
            "name": {**text, "description": "Its name."},
            "inner": {**inner, "description": "Its inside.", "default": {"howMany": 3}},
            "texts": {"type": "array", "items": text, "maxItems": 4, "x-kubernetes-list-type": "set", "description": "Texts."},
            "byName": {
                "type": "object",
                "additionalProperties": {**inner, "description": "Something inside."},
                "maxProperties": 5,
                "description": "Insides.",
            },
            "flag": {"type": "boolean", "description": "A flag.", "default": False},
        },
    }


@pytest.mark.parametrize(
    ("type_", "complaint"),
    [
        (Annotated[str, Meta(description="x")], "needs max_length"),
        (Annotated[int, Meta(ge=1, description="x")], "needs le"),
        (Annotated[tuple[TEXT, ...], Meta(description="x")], "needs max_length"),
        (Annotated[dict[str, TEXT], Meta(description="x")], "needs max_length"),
        (Annotated[float, Meta(description="x")], "FloatType has no place in a CRD"),
        (Annotated[Any, Meta(description="x")], "AnyType has no place in a CRD"),
        (Annotated[int | str, Meta(description="x")], "a union of several types"),
        (Annotated[Literal[1, 2], Meta(description="x")], "only texts can be enumerated"),
        (TEXT, "say what it is"),
        (TEXT | None, "say what it is"),
        (Inner, "say what it is"),
    ],
)
def test_what_a_crd_cannot_say_is_refused(type_, complaint):
    """With the field's place, when the CRDs are made and not when they are applied."""
    struct = msgspec.defstruct("Wrong", [("field", type_)])

    with pytest.raises(Unstructural, match=rf"Wrong\.field(\[\])?: .*{complaint}|Wrong\.field: {complaint}"):
        schema_of(struct)
