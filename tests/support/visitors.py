"""One try of a plain NATS client to be let in by a broker.

Belongs here: the connection, as an agent would make it. Does not belong here: who is let in. A newcomer would get wrong: a broker that
refuses closes the connection at once, sometimes before the client has written its last byte, so what the client sees of the same refusal
is the broker's reason or a broken connection; and a client that was refused keeps its socket until it is closed by hand.
"""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import nats.errors
from nats.aio.client import Client


@contextlib.asynccontextmanager
async def connected(url: str, complaints: list[str], **how: Any) -> AsyncIterator[Client]:
    """One try to connect to the broker; whatever becomes of it, no socket is left open.

    Args:
        url: the broker's.
        complaints: gets what the broker says against the client, as text.
        how: what else nats-py's ``connect`` takes.

    Raises:
        nats.errors.Error: the broker refuses.
    """

    async def complained(error: Exception) -> None:
        complaints.append(str(error))

    client = Client()
    try:
        try:
            await client.connect(url, error_cb=complained, allow_reconnect=False, connect_timeout=5, **how)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise nats.errors.AuthorizationError from error
        yield client
    finally:
        await client.close()
        transport = client._transport
        if transport is not None:
            transport.close()
            with contextlib.suppress(ConnectionError):
                await transport.wait_closed()
