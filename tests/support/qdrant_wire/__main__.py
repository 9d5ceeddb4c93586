"""``python -m tests.support.qdrant_wire --port 0 --data FOLDER``: serve until SIGTERM; the port is the first line of standard output.

Belongs here: the process. Does not belong here: an answer. A newcomer would get wrong: it can be killed at any time, and started again on
its folder, as the server that it stands for.
"""

import argparse
import asyncio
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc as rpc
from qdrant_client import grpc

from tests.support.qdrant_wire import services
from tests.support.qdrant_wire.shelf import Shelf


class _Keyed(rpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc's classes are untyped
    """Lets through who shows the key."""

    def __init__(self, key: str) -> None:
        self._key = key

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        if dict(details.invocation_metadata or ()).get("api-key") == self._key:
            return await continuation(details)

        async def refuse(_: Any, context: Any) -> None:
            await context.abort(rpc.StatusCode.UNAUTHENTICATED, "Must provide an API key or an Authorization bearer token")

        return rpc.unary_unary_rpc_method_handler(refuse)


async def serve(arguments: argparse.Namespace) -> None:
    """Serve until a signal."""
    shelf = Shelf(arguments.data)
    interceptors = [_Keyed(arguments.api_key_file.read_text(encoding="ascii").strip())] if arguments.api_key_file else []
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]
    # for the calls that are not written: the generated classes refuse them in a thread
    server = rpc.aio.server(ThreadPoolExecutor(1), interceptors=interceptors, options=options)
    grpc.add_CollectionsServicer_to_server(services.Collections(shelf), server)
    grpc.add_PointsServicer_to_server(services.Points(shelf), server)
    address = f"127.0.0.1:{arguments.port}"
    if arguments.cert:
        pair = (arguments.key.read_bytes(), arguments.cert.read_bytes())
        port = server.add_secure_port(address, rpc.ssl_server_credentials([pair]))
    else:
        port = server.add_insecure_port(address)
    await server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await server.stop(grace=1.0)
    shelf.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="qdrant_wire")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--api-key-file", type=Path)
    parser.add_argument("--cert", type=Path)
    parser.add_argument("--key", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(serve(_arguments()))
