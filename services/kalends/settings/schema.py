"""The settings as a JSON Schema, for whoever checks them before Kalends itself does, such as the chart.

Belongs here: the tree's schema, closed where the tree is. Does not belong here: any other value of a chart. A newcomer would get wrong:
nothing is required in it, for every setting has a default; and where the data folder is, is for who runs the process to say.
"""

from typing import Any

import msgspec

from kalends.settings.tree import Settings

ROOT = "Settings"
"""The definition of the whole tree."""


def definitions() -> dict[str, Any]:
    """The definition of the tree and of every group and list element in it, by name; each is referred to as ``#/$defs/NAME``."""
    (_, found) = msgspec.json.schema_components([Settings], ref_template="#/$defs/{name}")
    named = {name: _plain(definition) for name, definition in found.items()}
    named[ROOT]["properties"].pop("data")
    return named


def _plain(value: Any) -> Any:
    """Without defaults, which stand in the reference and would be written out whole here, and without the classes' names as titles."""
    if isinstance(value, dict):
        is_schema = isinstance(value.get("type"), str) or "$ref" in value or "enum" in value
        return {key: _plain(one) for key, one in value.items() if not (is_schema and key in {"default", "title"})}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value
