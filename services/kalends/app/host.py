"""The host: runs the services of a process, from the first lock to the last drained request.

Belongs here: listeners, loops, signals, and the order of starting and stopping. Does not belong here: building (``container``). A
newcomer would get wrong: stopping goes from the outside inwards: listeners first (they drain), then loops, then the stores, the broker
last.
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from kalends import __version__
from kalends.app import container, exporting, folders
from kalends.app.container import Built
from kalends.app.folders import Folders
from kalends.domain.errors import KalendsError, Misconfigured, Occupied
from kalends.edge import listeners, logs, problems, tls
from kalends.edge.http import build_api
from kalends.edge.nats import NatsEdge
from kalends.edge.probes import build_ops
from kalends.edge.services import Loop
from kalends.kit import arenas, tasks
from kalends.kit.rotation import RotatingFile
from kalends.settings import Settings, TelemetrySettings

log = structlog.get_logger(__name__)

_READY_S = 60.0
_SWITCH_S = 0.0005


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """Where a ready instance is."""

    url: str
    ops_url: str
    nats_url: str
    token_file: Path
    pid: int
    data: Path


def run(roles: Sequence[str], settings: Settings, *, ready: Callable[[Ready], None]) -> int:
    """Host *roles* until SIGTERM or SIGINT; *ready* is called once everything answers. Returns the exit status.

    Raises:
        KalendsError: it cannot start; the detail says why and what to do.
    """
    # A thread that computes keeps the interpreter for this long before the event loop gets it back; the default of 5 ms is longer than
    # a whole request takes.
    sys.setswitchinterval(_SWITCH_S)
    arenas.keep_few()
    arenas.map_large_apart()
    service = "+".join(roles)
    configure_logs(settings.telemetry, service=service)
    where = folders.folders_of(settings)
    folders.prepare(where)
    with logs.behind(), folders.locked(where), exporting.exported(settings.telemetry, version=__version__, service=service):
        try:
            _loop_runner()(_main(roles, settings, where, ready))
        except* KalendsError as group:
            raise _first(group) from None
        finally:
            where.instance.unlink(missing_ok=True)
    return 0


def configure_logs(settings: TelemetrySettings, *, service: str) -> None:
    """Send log lines where *settings* say.

    Raises:
        Misconfigured: the file cannot be written.
    """
    target = None
    if settings.log_file:
        path = Path(settings.log_file).expanduser()
        try:
            target = RotatingFile(path, size=round(settings.log_file_mib * (1 << 20)), files=settings.log_files)
        except OSError as error:
            raise Misconfigured(f"telemetry.log_file: {path} cannot be written: {error.strerror}") from error
    pairs = (one.strip().partition("=") for one in settings.levels.split(",") if one.strip())
    logs.configure(level=settings.level, service=service, stream=target, levels={module: level for module, _, level in pairs})


def _loop_runner() -> Callable[..., None]:
    """Uvloop where there is one: it halves the cost of a small request."""
    if sys.platform == "win32":
        return asyncio.run
    import uvloop

    return uvloop.run


def _first(group: BaseExceptionGroup[KalendsError]) -> KalendsError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, KalendsError) else KalendsError(str(error))


async def _main(roles: Sequence[str], settings: Settings, where: Folders, ready: Callable[[Ready], None]) -> None:
    tls.check_plain(settings.http, settings.tls)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with contextlib.ExitStack() as sockets:
        api = sockets.enter_context(contextlib.closing(_bind(settings.http.host, settings.http.port, "http.port")))
        ops = sockets.enter_context(contextlib.closing(_bind(settings.http.host, settings.http.ops_port, "http.ops_port")))
        # what is made while starting lives as long as the process: keep the collector from walking it again and again, then and later
        gc.disable()
        try:
            async with container.build(roles, settings, where) as built:
                gc.collect()
                gc.freeze()
                gc.enable()
                await _serve(settings, where, built, (api, ops), stop, ready)
        finally:
            gc.enable()


def _bind(host: str, port: int, name: str) -> socket.socket:
    try:
        return listeners.bind(host, port)
    except Occupied as error:
        raise Occupied(f"{error.detail}; choose another {name}, or 0 for a free one") from error
    except OSError as error:
        raise Misconfigured(f"http.host: {host} cannot be listened on: {error.strerror}") from error


async def _serve(
    settings: Settings,
    where: Folders,
    built: Built,
    sockets: tuple[socket.socket, socket.socket],
    stop: asyncio.Event,
    ready: Callable[[Ready], None],
) -> None:
    accepting = asyncio.Event()
    api_tls, ops_tls = (None, None) if built.tls is None else (built.tls.api, built.tls.operations)
    application = build_api(
        built.services,
        authenticator=built.authenticator,
        settings=settings.http,
        metrics=built.metrics,
        version=__version__,
        refused=built.audit.refused,
        audit=built.audit,
        limits=built.limits,
    )
    operations = build_ops(built.services, metrics=built.metrics, accepting=accepting.is_set)
    nats_edge = _nats_edge(settings, built)
    async with asyncio.TaskGroup() as background:
        running = [background.create_task(_forever(loop), name=loop.name) for loop in built.loops]
        if built.broker is not None:
            running.append(background.create_task(built.broker.run(), name="broker"))
        try:
            async with asyncio.timeout(_READY_S):
                await built.authenticator.wait_ready()
            async with asyncio.TaskGroup() as front:
                answering = (asyncio.Event(), asyncio.Event())
                drain = settings.http.drain_s
                serve = listeners.serve
                listening = [
                    front.create_task(serve(application, sockets[0], drain_s=drain, ready=answering[0], tls=api_tls), name="api"),
                    front.create_task(serve(operations, sockets[1], drain_s=1.0, ready=answering[1], tls=ops_tls), name="operations"),
                    front.create_task(nats_edge.run(), name="nats-edge"),
                ]
                for event in answering:
                    await event.wait()
                await _first_of(stop.wait(), built.follower.known())
                if not stop.is_set():
                    accepting.set()
                    await _announce(where, settings, built, sockets, ready)
                await stop.wait()
                accepting.clear()
                log.info("draining")
                for task in listening:
                    task.cancel()
        finally:
            for task in running:
                task.cancel()
    log.info("stopped")


async def _first_of(*waits: Coroutine[None, None, object]) -> None:
    """Return once one of *waits* has."""
    async with tasks.group() as group:
        waiting = [group.create_task(one) for one in waits]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for one in waiting:
            one.cancel()


def _nats_edge(settings: Settings, built: Built) -> NatsEdge:
    return NatsEdge(
        client=built.bus.connection,
        services=built.services,
        authenticator=built.authenticator,
        settings=settings.http,
        metrics=built.metrics,
        version=__version__,
        refused=built.audit.refused,
        audit=built.audit,
        limits=built.limits,
    )


def _absolute(path: str) -> str:
    return str(Path(path).absolute()) if path else ""


async def _forever(loop: Loop) -> None:
    try:
        await loop.run()
    except Exception as error:
        # ends the process; what closing then raises would hide it
        log.error("a loop failed, so the process ends", loop=loop.name, error_type=type(error).__name__, places=problems.places(error))  # noqa: TRY400 - its message may hold content
        raise


async def _announce(
    where: Folders, settings: Settings, built: Built, sockets: tuple[socket.socket, socket.socket], ready: Callable[[Ready], None]
) -> None:
    host = f"[{settings.http.host}]" if ":" in settings.http.host else settings.http.host
    scheme = "http" if built.tls is None else "https"
    url, ops_url = (f"{scheme}://{host}:{one.getsockname()[1]}" for one in sockets)
    nats_url = built.broker.url if built.broker is not None else settings.log.url
    told = {"url": url, "ops_url": ops_url, "nats_url": nats_url, "pid": os.getpid(), "ca_file": _absolute(settings.tls.ca_file)}

    def write() -> None:
        draft = where.instance.with_suffix(".new")
        draft.write_bytes(msgspec.json.encode(told))
        draft.replace(where.instance)

    await asyncio.to_thread(write)
    log.info("ready", url=url, ops_url=ops_url, version=__version__)
    ready(Ready(url=url, ops_url=ops_url, nats_url=nats_url, token_file=where.token, pid=os.getpid(), data=where.data))
