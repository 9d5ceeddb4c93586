"""OpenAPI: the document says what the table says."""

import jsonschema_rs
import msgspec
import pytest
from tests.support.edge import Seen, failing, operations

from kalends.edge import openapi, problems
from kalends.edge.operations import Operation

DOCUMENT = msgspec.json.decode(problems.encode(openapi.document(operations(), version="1.2.3", base="/v1")))


@pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.name)
def test_every_operation_is_described(operation: Operation):
    """Name, parameters, body and answers come from the row."""
    described = DOCUMENT["paths"][operation.path][operation.method.lower()]
    assert described["operationId"] == operation.name
    assert {str(operation.status), "401", "404", "422"} <= set(described["responses"])
    assert ("requestBody" in described) == (operation.body is not None)


def test_every_schema_is_a_valid_json_schema():
    """Tools that generate clients read them."""
    for name, schema in DOCUMENT["components"]["schemas"].items():
        jsonschema_rs.meta.validate({**schema, "$schema": "https://json-schema.org/draft/2020-12/schema"})
        assert name


def test_every_reference_has_a_target():
    """A dangling reference breaks generators late and obscurely."""

    def references(value):
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                yield value["$ref"]
            for member in value.values():
                yield from references(member)
        elif isinstance(value, list):
            for member in value:
                yield from references(member)

    for reference in references(DOCUMENT):
        target = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]


def test_query_parameters_have_types_defaults_and_no_null():
    """A URL has no null; what may be null may be left out."""
    parameters = {item["name"]: item for item in DOCUMENT["paths"]["/memories/{memory}/notes"]["get"]["parameters"]}
    assert set(parameters) == {"memory", "limit", "order", "from", "share", "q"}
    assert parameters["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}
    assert parameters["from"]["schema"] == {"type": "string", "format": "date-time"}
    assert not parameters["q"]["required"]


def test_a_memory_in_a_path_has_its_pattern():
    """Callers learn the rule from the document."""
    memory = DOCUMENT["paths"]["/memories/{memory}/notes"]["get"]["parameters"][0]
    assert memory["schema"]["pattern"] == "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"


def test_a_body_is_required_only_if_one_of_its_fields_is():
    """``POST /jobs/x/run`` may be sent without any body."""
    assert DOCUMENT["paths"]["/memories/{memory}/notes"]["post"]["requestBody"]["required"]
    assert not DOCUMENT["paths"]["/jobs/{name}/run"]["post"]["requestBody"]["required"]


def test_an_answer_without_a_body_has_no_content():
    """204 and 304 have none, and neither has an operation without an answer type."""
    row = Operation(
        name="x.y", method="DELETE", path="/x", right="admin", summary="X.", handle=failing(ValueError()), answer=None, status=204
    )
    described = openapi.document([row], version="1", base="/v1")["paths"]["/x"]["delete"]
    assert "content" not in described["responses"]["204"]
    row = Operation(
        name="x.z", method="GET", path="/x", right="search", summary="X.", handle=failing(ValueError()), answer=Seen, statuses=(304,)
    )
    responses = openapi.document([row], version="1", base="/v1")["paths"]["/x"]["get"]["responses"]
    assert ("content" in responses["200"], "content" in responses["304"]) == (True, False)
