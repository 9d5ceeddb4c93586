"""The OpenAPI document, made from the operation table.

Belongs here: how a row reads as OpenAPI 3.1. Does not belong here: any fact about one operation. A newcomer would get wrong: a lenient
operation's schema is stricter than the operation; it refuses bad items one by one instead of the whole body.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from kalends.edge import dispatch, problems
from kalends.edge.operations import Operation

_PATTERNS = {"memory": "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"}
_REFERENCE = "#/components/schemas/{name}"
_ALWAYS = (400, 401, 403, 404, 405, 422, 429, 500, 503, 504)
_WITH_BODY = (409, 410, 413, 415)


def document(operations: Sequence[Operation], *, version: str, base: str) -> dict[str, Any]:
    """The document of *operations* under the path *base*, as plain JSON values."""
    kinds: list[Any] = [problems.Problem]
    for operation in operations:
        kinds += [kind for kind in (operation.body, operation.answer, operation.query) if kind is not None and kind not in kinds]
    references, components = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
    schemas: dict[Any, Any] = dict(zip(kinds, references, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        described = _operation(operation, schemas, components)
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Kalends",
            "version": version,
            "summary": "Private, self-hosted memory for AI agents.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": base}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "responses": {
                "problem": {
                    "description": "What went wrong (RFC 9457).",
                    "content": {problems.CONTENT_TYPE: {"schema": schemas[problems.Problem]}},
                }
            },
        },
    }


def _operation(operation: Operation, schemas: dict[Any, Any], components: dict[str, Any]) -> dict[str, Any]:
    content = None if operation.answer is None else {"application/json": {"schema": schemas[operation.answer]}}
    responses: dict[str, Any] = {}
    for status in (operation.status, *operation.statuses):
        responses[str(status)] = {"description": operation.summary} | ({"content": content} if content and status not in (204, 304) else {})
    for status in _ALWAYS + (_WITH_BODY if operation.body is not None else (409, 410)):
        responses[str(status)] = {"$ref": "#/components/responses/problem"}
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.name.partition(".")[0]],
        "parameters": [*_path_parameters(operation), *_query_parameters(operation, schemas, components)],
        "responses": responses,
    }
    if operation.right:
        every = ", and a credential of all labels" if operation.every_label else ""
        described["description"] = f"Needs the right `{operation.right}`{every}."
    if operation.open:
        described["security"] = []
    if operation.subject is not None:
        described["x-nats-subject"] = operation.subject
    if operation.body is not None:
        described["requestBody"] = {
            "required": bool(dispatch.required(operation.body)),
            "content": {"application/json": {"schema": schemas[operation.body]}},
        }
    return described


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1} | ({"pattern": _PATTERNS[name]} if name in _PATTERNS else {}),
        }
        for name in dispatch.parameters(operation.path)
    ]


def _query_parameters(operation: Operation, schemas: dict[Any, Any], components: dict[str, Any]) -> list[dict[str, Any]]:
    """The fields of the query struct as parameters; what may be null may be left out, since a URL has no null."""
    if operation.query is None:
        return []
    schema = components[schemas[operation.query]["$ref"].rpartition("/")[2]]
    needed = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in needed, "schema": _without_null(member)}
        for name, member in schema["properties"].items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in schema.items() if not (key == "default" and value is None)}
    choices = [choice for choice in kept.get("anyOf", []) if choice != {"type": "null"}]
    if len(choices) == 1 and len(choices) != len(kept["anyOf"]):
        del kept["anyOf"]
        return {**choices[0], **kept}
    return kept
