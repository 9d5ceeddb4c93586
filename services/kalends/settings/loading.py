"""From defaults, file, environment and flags to one tree. Later layers win; unknown keys are refused with their place."""

import math
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from kalends.domain.errors import Misconfigured
from kalends.settings.tree import Settings

PREFIX = "KALENDS_"
CLIENT_VARIABLES = frozenset(
    {
        "KALENDS_URL",
        "KALENDS_TOKEN_FILE",
        "KALENDS_CA_FILE",
        "KALENDS_CLIENT_CERTIFICATE_FILE",
        "KALENDS_CLIENT_KEY_FILE",
        "KALENDS_AGENT_KEY_FILE",
        "KALENDS_MEMORY",
        "KALENDS_FAILPOINTS",
    }
)
"""Variables of ours that are no settings of the server."""


def load(*, file: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any] | None = None) -> Settings:
    """Merge defaults < *file* < *environment* < *flags* (nested mappings) into settings.

    Raises:
        Misconfigured: an unknown key, a wrong type or a value out of bounds; the detail names layer and key.
    """
    merged: dict[str, Any] = {}
    if file is not None:
        try:
            if file.exists():
                _merge(merged, tomllib.loads(file.read_text(encoding="utf-8")))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise Misconfigured(f"{file.name}: {error}") from error
        _checked(merged, layer=file.name)
    _merge(merged, _from_environment(environment))
    _checked(merged, layer="environment")
    _merge(merged, flags or {})
    return _checked(merged, layer="flags")


def _checked(tree: Mapping[str, Any], *, layer: str) -> Settings:
    try:
        settings = msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise Misconfigured(f"{layer}: {error}") from error
    for group in msgspec.structs.asdict(settings).values():
        fields = msgspec.structs.asdict(group) if isinstance(group, msgspec.Struct) else {}
        endless = [name for name, value in fields.items() if isinstance(value, float) and not math.isfinite(value)]
        if endless:
            raise Misconfigured(f"{layer}: {', '.join(endless)} must be a finite number")
    if "@" in settings.log.url:
        # it is told to whoever may read instance.json; the text is not repeated, for it may hold a password
        detail = "must not hold a user, a password or a token; log.user names the user and log.password_file the file with the password"
        raise Misconfigured(f"{layer}: log.url {detail}")
    return settings


def _merge(into: dict[str, Any], layer: Mapping[str, Any]) -> None:
    for key, value in layer.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in environment.items():
        if not name.startswith(PREFIX) or name in CLIENT_VARIABLES or name.startswith("KALENDS_TEST_"):
            continue
        group, separator, field = name.removeprefix(PREFIX).lower().partition("__")
        if separator:
            branch = tree.setdefault(group, {})
            if not isinstance(branch, dict):
                raise Misconfigured(f"environment: {PREFIX}{group.upper()} is a group of settings; name a field: {name}")
            branch[field] = _listed(value) if _is_list(group, field) else value
        else:
            tree[group] = value
    return tree


def _is_list(group: str, field: str) -> bool:
    """Whether a field is a list or a table, which the environment writes as JSON."""
    groups = {one.name: one.type for one in msgspec.structs.fields(Settings)}
    kind = groups.get(group)
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return False
    return any(one.name == field and isinstance(one.default, (tuple, dict)) for one in msgspec.structs.fields(kind))


def _listed(value: str) -> Any:
    try:
        return msgspec.json.decode(value)
    except (msgspec.MsgspecError, UnicodeError):
        return value  # the check of the whole tree says what is wrong, and where


def table() -> Iterator[tuple[str, str, str, str]]:
    """Every setting as (key in the file, variable, default, description), in the tree's order."""
    for group in msgspec.structs.fields(Settings):
        if isinstance(group.type, type) and issubclass(group.type, msgspec.Struct):
            for field in msgspec.structs.fields(group.type):
                variable = f"{PREFIX}{group.name}__{field.name}".upper()
                yield f"{group.name}.{field.name}", variable, repr(field.default), _description(field.type)
        else:
            yield group.name, f"{PREFIX}{group.name}".upper(), repr(group.default), _description(group.type)


def _description(annotated: Any) -> str:
    return next((meta.description or "" for meta in getattr(annotated, "__metadata__", ()) if isinstance(meta, msgspec.Meta)), "")
