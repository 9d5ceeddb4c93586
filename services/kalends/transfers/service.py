"""Transfers as a service.

A newcomer would get wrong: it stands with the role that keeps the calendar, for versions of nodes come in by it; events come in as by
ingest, and text goes out as by search.
"""

from kalends.edge.services import Service
from kalends.kit.traffic import Traffic
from kalends.transfers.exporting import ExportMemory
from kalends.transfers.importing import Append, ImportLines, Stores
from kalends.transfers.routes import TransferRoutes, operations
from kalends.wire.arrivals import Arrivals
from kalends.wire.hidden import HiddenView
from kalends.wire.reader import Reader


def build(stores: Stores, *, append: Append, reader: Reader, hidden: HiddenView, traffic: Traffic, arrivals: Arrivals) -> Service:
    """The service; it has no loop of its own."""
    export = ExportMemory(
        log=stores.log,
        reader=reader,
        timeline=stores.timeline,
        calendar=stores.calendar,
        documents=stores.documents,
        memories=stores.memories,
        hidden=hidden,
        progress=stores.progress,
        traffic=traffic,
        clock=stores.clock,
    )
    routes = TransferRoutes(export=export, take=ImportLines(stores, append=append), arrivals=arrivals)
    return Service(name="transfers", operations=operations(routes))
