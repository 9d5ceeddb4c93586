"""An agent in a pod: it reads the Secret that the operator wrote, remembers over HTTP with the SDK, and searches over NATS.

Belongs here: the smallest program that does both. Does not belong here: any language model. A newcomer would get wrong: the files of a
mounted Secret change when credentials are rotated, so they are read when a connection is made and not once for ever.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

import nats

from kalends.client import Kalends, NewEvent

SECRET = Path(os.environ.get("AGENT_SECRET", "/run/memory"))
ASK_S = 10.0


def told(key: str) -> str:
    """What the Secret says under *key*; empty where it does not."""
    path = SECRET / key
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def remember(text: str) -> list[str]:
    """Write *text* over HTTP; the ids of what is stored, once it can be found."""
    authority = SECRET / "ca.crt"
    with Kalends(told("url"), token=told("token"), ca_file=authority if authority.exists() else None) as kalends:
        memory = kalends.memory(told("memory"))
        receipt = memory.append([NewEvent(text=text, session_id=f"pod-{int(time.time())}")])
        found = memory.search(text, min_visibility=receipt.visibility, limit=3)
        sys.stdout.write(f"over HTTP: wrote {receipt.event_ids}, found {[hit.text for hit in found.hits]}\n")
        return receipt.event_ids


async def recall(question: str) -> list[str]:
    """Search over NATS, with the agent's own key; the texts that were found."""
    connection = await nats.connect(
        told("nats_url").split(","), nkeys_seed_str=told("nkey_seed"), inbox_prefix=told("inbox_prefix").encode(), connect_timeout=ASK_S
    )
    try:
        subject = f"{told('subject_prefix')}.search"
        headers = {"Authorization": f"Bearer {told('token')}"}
        answer = await connection.request(subject, json.dumps({"query": question}).encode(), timeout=ASK_S, headers=headers)
        body = json.loads(answer.data)
        return [hit["text"] for hit in body.get("hits", [])]
    finally:
        await connection.close()


def main() -> None:
    """Remember something, and recall it."""
    remember("The ferry leaves pier nine at noon.")
    if told("nats_url") and told("nkey_seed"):
        sys.stdout.write(f"over NATS: found {asyncio.run(recall('When does the ferry leave?'))}\n")


if __name__ == "__main__":
    main()
