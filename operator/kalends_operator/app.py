"""``kalends-operator``: settings, the lease, the pages of metrics, and kopf while the lease is held.

Belongs here: putting the parts together and ending. Does not belong here: anything that a part does. A newcomer would get wrong: losing the
lease ends the process at once and without tidying up, since whoever holds it now is already acting.
"""

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
from datetime import UTC, datetime
from typing import Any

import click
import structlog

from kalends.domain.errors import KalendsError, Misconfigured
from kalends_operator import handlers
from kalends_operator import settings as operator_settings
from kalends_operator.backing import Backups
from kalends_operator.backup_work import BackupWork, RestoreWork, ScheduleWork
from kalends_operator.cluster import Cluster
from kalends_operator.erasure_work import ErasureWork
from kalends_operator.kalends import Platform
from kalends_operator.lease import Leadership
from kalends_operator.memory_work import MemoryWork
from kalends_operator.metrics import Metrics, Pages
from kalends_operator.reconciling import Reconciler, Work
from kalends_operator.settings import OperatorSettings
from kalends_operator.working import Parts

log = structlog.get_logger(__name__)

LOST = 75
"""Exit status after the lease was lost; the supervisor starts the process again."""

MISCONFIGURED = 78
HEARTBEAT_S = 1.0


@click.group()
def cli() -> None:
    """The operator of Kalends for Kubernetes; settings are KALENDS_OPERATOR_* variables."""


@cli.command()
def run() -> None:
    """Follow the resources until told to stop."""
    _log_as_json()
    try:
        found = operator_settings.load(os.environ)
    except Misconfigured as error:
        log.error("a setting cannot work", detail=error.detail)  # noqa: TRY400 - a traceback tells an admin nothing more
        sys.exit(MISCONFIGURED)
    sys.exit(asyncio.run(serve(found)))


@cli.command("settings")
def show_settings() -> None:
    """Print every setting."""
    for variable, default, description in operator_settings.table():
        click.echo(f"{variable}\t{default}\t{description}")


def main() -> None:
    """The console script."""
    cli(prog_name="kalends-operator")


async def serve(found: OperatorSettings) -> int:
    """Wait for the lease, act while it is held, and give it back; the exit status."""
    metrics = Metrics()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    leases = Cluster(deadline_s=min(found.deadline_s, found.lease_s / 5))
    leadership = Leadership(
        leases,
        namespace=found.lease_namespace,
        name=found.lease_name,
        identity=f"{socket.gethostname()}-{secrets.token_hex(4)}",
        length_s=found.lease_s,
    )
    try:
        with Pages(metrics, host=found.metrics_host, port=found.metrics_port) as pages:
            log.info("serving pages", port=pages.port)
            async with asyncio.TaskGroup() as group:
                beating = group.create_task(_beat(metrics))
                await _lead(found, metrics, leadership, stop)
                beating.cancel()
    finally:
        await leases.close()
    return 0


async def _lead(found: OperatorSettings, metrics: Metrics, leadership: Leadership, stop: asyncio.Event) -> None:
    """Everything that only the holder of the lease does."""
    if not await _acquired(leadership, stop):
        return
    metrics.leader.set(1)
    log.info("the lease is held")
    cluster, platform = Cluster(deadline_s=found.deadline_s), Platform(found)
    try:
        async with asyncio.TaskGroup() as group:
            holding = group.create_task(_hold(leadership))
            await handlers.run(_reconciler(found, metrics, cluster, platform, leadership), found, stop=stop)
            holding.cancel()
    finally:
        metrics.leader.set(0)
        await platform.close()
        await cluster.close()
        await leadership.release()
        log.info("stopped")


async def _acquired(leadership: Leadership, stop: asyncio.Event) -> bool:
    """Wait for the lease, or to be told to stop."""
    async with asyncio.TaskGroup() as group:
        acquiring = group.create_task(_acquire(leadership))
        stopping = group.create_task(stop.wait())
        await asyncio.wait({acquiring, stopping}, return_when=asyncio.FIRST_COMPLETED)
        acquiring.cancel()
        stopping.cancel()
    return not acquiring.cancelled()


async def _acquire(leadership: Leadership) -> None:
    while True:
        try:
            await leadership.acquire()
        except KalendsError as error:
            log.warning("the lease cannot be taken", code=error.code, detail=error.detail)
            await asyncio.sleep(handlers.OUTAGE_S)
        else:
            return


async def _hold(leadership: Leadership) -> None:
    try:
        await leadership.hold()
    except KalendsError:
        log.error("the lease is lost: ending at once")  # noqa: TRY400 - there is no more to say
        sys.stderr.flush()
        os._exit(LOST)


async def _beat(metrics: Metrics) -> None:
    while True:
        metrics.turn()
        await asyncio.sleep(HEARTBEAT_S)


def _reconciler(found: OperatorSettings, metrics: Metrics, cluster: Cluster, platform: Platform, leadership: Leadership) -> Reconciler:
    def now() -> datetime:
        return datetime.now(UTC)

    parts = Parts(cluster=cluster, platform=platform, backups=Backups(platform), settings=found, now=now, check=leadership.check)
    works: dict[str, Work] = {
        "AgentMemory": MemoryWork(parts),
        "MemoryErasure": ErasureWork(parts),
        "MemoryBackup": BackupWork(parts),
        "MemoryBackupSchedule": ScheduleWork(parts),
        "MemoryRestore": RestoreWork(parts),
    }
    return Reconciler(cluster, works, metrics=metrics, parallel=found.parallel, check=leadership.check)


def _log_as_json() -> None:
    """Lines of JSON on standard error; of libraries only warnings, and never what they were given."""
    shared: list[Any] = [structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)]
    structlog.configure(
        processors=[*shared, structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    handler = logging.StreamHandler(sys.stderr)
    renderer = structlog.processors.JSONRenderer()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *shared, renderer])
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


if __name__ == "__main__":
    main()
