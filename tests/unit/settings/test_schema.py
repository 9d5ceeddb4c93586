"""The settings as a JSON Schema."""

import json

from kalends.settings import schema, table


def test_every_setting_but_the_data_folder_is_in_it():
    """Where the data is, is for who runs the process to say."""
    found = schema.definitions()
    groups = {name: one["$ref"].rpartition("/")[2] for name, one in found[schema.ROOT]["properties"].items()}
    keys = {f"{group}.{field}" for group, name in groups.items() for field in found[name]["properties"]}

    assert keys == {key for key, *_ in table()} - {"data"}


def test_the_tree_is_closed_and_nothing_is_required_of_a_group():
    """An unknown key is refused where it is written, and one may set a single field."""
    found = schema.definitions()
    groups = [found[one["$ref"].rpartition("/")[2]] for one in found[schema.ROOT]["properties"].values()]

    assert all(one["additionalProperties"] is False for one in found.values())
    assert [one for one in [found[schema.ROOT], *groups] if one.get("required")] == []


def test_it_has_meanings_and_bounds_and_no_defaults():
    """Defaults stand in the reference; here they would be thousands of lines."""
    depth = schema.definitions()["SearchSettings"]["properties"]["depth"]

    assert depth == {"description": depth["description"], "type": "integer", "minimum": 10, "maximum": 1000}
    assert '"default":' not in json.dumps(schema.definitions())
