"""Fairness: what one tenant feels of another that asks ten times as much as it may.

Belongs here: the procedure. Does not belong here: the limits (``edge.limits``). A newcomer would get wrong: the quiet tenant is compared
with itself on the same instance a moment before, not with another run; and the noisy one is refused, so its answers are mostly 429.
"""

import asyncio
import contextlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from kalends.adapters.embedded.clock import SystemClock
from kalends.adapters.nats import open_nats
from kalends.domain.credentials import RIGHTS
from kalends.domain.scope import Tenant
from kalends.edge.auth import Authenticator
from tests.bench.instance import Instance, ask, make_load
from tests.bench.load import Job, Outcome
from tests.bench.report import Report, Row, percentile
from tests.support.instance import wait_until

SECTION = "Fairness: searches of a quiet tenant beside one at ten times its limit"
LIMIT, QUIET_RATE, SECONDS = 10, 4.0, 20.0
AIM = 1.5
_EVENTS = 300


def measure(folder: Path, report: Report, *, rounds: int = 3) -> None:
    """The quiet tenant alone and beside the noisy one, in turns; the ratio of the medians of their p95."""
    limits = {"KALENDS_LIMITS__REQUESTS_PER_S": str(LIMIT), "KALENDS_LIMITS__BURST_S": "1"}
    with Instance(folder / "fairness", settings=limits) as instance, ThreadPoolExecutor(2) as threads:
        token = _another_tenant(folder / "fairness")
        url, ours = instance.url, instance.token
        if not wait_until(lambda: _known(url, token), seconds=20, every=0.1):
            raise RuntimeError("the other tenant's token is not known")
        for who, memory in ((ours, instance.memory), (token, "quiet")):
            make_load(Job(url=url, token=who, memory=memory, kind="append", batch=100, requests=_EVENTS // 100))
        instance.wait_indexed(seconds=300)
        alone, beside, noise = [], [], []
        make_load(_searches(url, token, "quiet", rate=QUIET_RATE, seed=0))  # what is slow the first time is slow for nobody else
        for number in range(rounds):
            quiet = _searches(url, token, "quiet", rate=QUIET_RATE, seed=number)
            alone.append(make_load(quiet))
            other = threads.submit(make_load, _searches(url, ours, instance.memory, rate=LIMIT * 10.0, seed=100 + number))
            beside.append(make_load(quiet))
            noise.append(other.result())
    before, after = (median(percentile(one.latencies, 0.95) for one in found) for found in (alone, beside))
    report.add(Row(section=SECTION, name="alone, p95", value=before, unit="ms", note=_told(alone)))
    report.add(
        Row(section=SECTION, name="beside the noisy one, p95", value=after, unit="ms", note=f"{_told(beside)}; noisy: {_told(noise)}")
    )
    report.add(Row(section=SECTION, name="ratio", value=after / before, unit="x", aim=AIM, at_most=True))


def _searches(url: str, token: str, memory: str, *, rate: float, seed: int) -> Job:
    """Searches at random times, *rate* of them a second."""
    requests = int(rate * SECONDS)
    return Job(
        url=url, token=token, memory=memory, kind="search", clients=64, requests=requests, rate=rate, random=seed, seconds=2 * SECONDS
    )


def _known(url: str, token: str) -> bool:
    """Whether the other tenant's memory could be made; the process learns of a token that somebody else wrote a moment later."""
    with contextlib.suppress(RuntimeError):
        ask(url, token, "PUT", "/v1/memories/quiet", {})
        return True
    return False


def _told(outcomes: list[Outcome]) -> str:
    statuses: dict[str, int] = {}
    for outcome in outcomes:
        for status, count in outcome.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
    return ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))


def _another_tenant(data: Path) -> str:
    """A token of another tenant, written by somebody who may write records."""
    user = json.loads((data / "nats" / "broker.conf").read_bytes())["authorization"]["users"][0]
    nats_url = json.loads((data / "instance.json").read_bytes())["nats_url"]

    async def issue() -> str:
        async with open_nats(url=nats_url, user=user["user"], password=user["password"]) as bus:
            token, _ = await Authenticator(bus.records, clock=SystemClock()).issue(Tenant("quiet"), memories=None, rights=RIGHTS)
            return token

    return asyncio.run(issue())
