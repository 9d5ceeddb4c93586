"""The support bundle: what somebody else needs to know of an instance that misbehaves, without anything that was told to it.

Belongs here: which files it has, and what is masked in them. Does not belong here: examining (``doctor``). A newcomer would get wrong:
nothing is let through because it looks harmless. Of settings only numbers, switches, fixed choices and hosts are told, of log lines only
what is not quoted and no subject, of operations no name; what could not be asked for is named in ``missing.json``, never left out silently.
"""

import gzip
import importlib.metadata
import io
import json
import os
import platform
import re
import ssl
import tarfile
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_origin
from urllib.parse import urlsplit

import msgspec

from kalends import __version__
from kalends.app import folders
from kalends.app.configuration import settings_from
from kalends.app.findings import Finding
from kalends.app.invocation import Invocation
from kalends.client import ClientError, connection
from kalends.domain.errors import KalendsError, Misconfigured
from kalends.settings import Settings

if TYPE_CHECKING:
    from kalends.app.folders import Folders

ROOT = "kalends-bundle"
LINES = 500
"""Last lines of each log."""

_ANSWER_S = 10.0
_SET = "<set>"
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'|`[^`]*`|«[^»]*»")
_URL = re.compile(r"([a-z+]+://)(?:[^\s/@]*@)?([^\s/?#,;|)]*)[^\s,;|)]*", re.IGNORECASE)
_SUBJECT = re.compile(r"[^\s\"]*(?:kalends\.v1|_INBOX|\$JS|\$KV)[^\s\"]*", re.IGNORECASE)
_STORES = ("nats", "lexical", "vector", "timeline", "calendar", "models")
_OPERATION = ("operation_id", "kind", "state", "done", "total", "started_at", "ended_at")
_UNAVAILABLE = (ClientError, KalendsError, OSError, ValueError)


def write(target: Path, invocation: Invocation, *, data: Path | None, findings: Sequence[Finding]) -> None:
    """Write the bundle to *target*, which must not exist, for its owner's eyes only.

    Raises:
        Misconfigured: the file cannot be written.
    """
    where = folders.folders_of(Settings(data=str((data or connection.data_folder()).absolute())))
    files, missing = _gathered(invocation, data=data, where=where, findings=findings)
    files["missing.json"] = _json(missing)
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file, gzip.GzipFile(fileobj=file, mode="wb", filename="") as packed:
            _pack(files, packed)
    except OSError as error:
        raise Misconfigured(f"the bundle cannot be written to {target}: {error.strerror}") from error


def masked(line: str) -> str:
    """*line* without anything that is quoted, of URLs only the hosts, and without subjects, which name tenants and memories."""
    return _SUBJECT.sub("…", _URL.sub(r"\1\2", _QUOTED.sub("…", line)))


def told_settings(settings: msgspec.Struct) -> dict[str, Any]:
    """*settings* with every text that is no fixed choice, host or default replaced by whether it is set."""
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(settings):
        value = getattr(settings, field.name)
        inner = getattr(field.type, "__origin__", field.type) if hasattr(field.type, "__metadata__") else field.type
        if isinstance(value, msgspec.Struct):
            found[field.name] = told_settings(value)
        elif value is None or isinstance(value, bool | int | float) or value == field.default or get_origin(inner) is Literal:
            found[field.name] = value
        elif isinstance(value, str):
            found[field.name] = _hosts(value) if "://" in value else _SET if value else ""
        else:
            found[field.name] = f"<{len(value)} set>"
    return found


def _hosts(urls: str) -> str:
    """Scheme, host and port of each URL; a user, a password, a path and a query are somebody's secret."""
    parts = [urlsplit(one.strip()) for one in urls.split(",")]
    return ",".join(f"{one.scheme}://{one.netloc.rpartition('@')[2]}" for one in parts)


def _gathered(
    invocation: Invocation, *, data: Path | None, where: "Folders", findings: Sequence[Finding]
) -> tuple[dict[str, bytes], dict[str, str]]:
    """The files by name, and by name why another is missing."""
    told = [msgspec.structs.replace(one, detail=masked(one.detail), next_step=masked(one.next_step)) for one in findings]
    parts: dict[str, Callable[[], bytes]] = {
        "about.json": lambda: _json(_about(where)),
        "findings.json": lambda: _json(told),
        "settings.json": lambda: _json(told_settings(settings_from(data=data))),
        "status.json": lambda: _json(_status(invocation, data)),
        "jobs.json": lambda: _json(_jobs(invocation, data)),
        "operations.json": lambda: _json(_operations(invocation, data)),
        "metrics.txt": lambda: _metrics(where),
        "logs/broker.log": lambda: _last_lines(where.nats / "broker.log"),
    }
    files: dict[str, bytes] = {}
    missing: dict[str, str] = {}
    for name, part in parts.items():
        try:
            files[name] = part()
        except _UNAVAILABLE as error:
            # an error of the system quotes a path and nothing else; others might quote what they were given
            missing[name] = type(error).__name__ if not isinstance(error, OSError) else f"{type(error).__name__}: {error.strerror}"
    return files, missing


def _about(where: "Folders") -> dict[str, Any]:
    from kalends.adapters.embedded import files

    names = sorted({one.metadata["Name"] for one in importlib.metadata.distributions() if one.metadata["Name"]})
    return {
        "kalends": __version__,
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "system": platform.platform(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "distributions": {name: importlib.metadata.version(name) for name in names},
        "holder": folders.holder(where) is not None,
        "bytes": {name: files.bytes_on_disk(where.data / name) for name in _STORES if (where.data / name).exists()},
    }


def _status(invocation: Invocation, data: Path | None) -> Any:
    with invocation.client(retry_s=0, timeout_s=_ANSWER_S, data=data) as kalends:
        found = msgspec.to_builtins(kalends.status())
    for one in found["dependencies"]:
        one.update(detail=masked(one["detail"]), next_step=masked(one["next_step"]))
    return found


def _jobs(invocation: Invocation, data: Path | None) -> Any:
    with invocation.client(retry_s=0, timeout_s=_ANSWER_S, data=data) as kalends:
        jobs = [msgspec.to_builtins(job) for job in kalends.scheduler_jobs()]
    for job in jobs:
        job["last_error"] = masked(job.get("last_error") or "")
    return jobs


def _operations(invocation: Invocation, data: Path | None) -> Any:
    with invocation.client(retry_s=0, timeout_s=_ANSWER_S, data=data) as kalends:
        found = [msgspec.to_builtins(one) for one in kalends.operations()]
    return [{name: one[name] for name in _OPERATION if name in one} for one in found]


def _metrics(where: "Folders") -> bytes:
    """What the instance on this machine says at its port for operations."""
    told = json.loads(where.instance.read_bytes())
    trusted = ssl.create_default_context(cafile=told["ca_file"] or None) if told["ops_url"].startswith("https:") else None
    with urllib.request.urlopen(f"{told['ops_url']}/metrics", timeout=_ANSWER_S, context=trusted) as answer:  # noqa: S310 - our own
        body: bytes = answer.read()
    return body


def _last_lines(path: Path) -> bytes:
    with path.open(encoding="utf-8", errors="replace") as file:
        return "".join(masked(line) for line in deque(file, maxlen=LINES)).encode()


def _json(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"


def _pack(files: dict[str, bytes], packed: gzip.GzipFile) -> None:
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, body in sorted(files.items()):
            entry = tarfile.TarInfo(f"{ROOT}/{name}")
            entry.size, entry.mode, entry.mtime = len(body), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(body))
