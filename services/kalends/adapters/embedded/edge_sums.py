"""Sums over what a point of an Edge shard holds: its payload, its dense vector, its token vectors.

Belongs here: computing sums, and the fields of a payload that hold them. Does not belong here: when they are written (``edge_points``,
``vectors``) or compared (``vector_checking``). A newcomer would get wrong: they are sums over what the engine reads back. For payloads and
for half-precision numbers that is known before anything is written; token vectors come back as eight bits made of them, so theirs is taken
once the engine has them, and another processor, or another release of the engine, may round otherwise: such a sum says nothing there.

A sum is CRC-32 (IEEE 802.3): one changed byte of what it is over is always found, more are missed once in four thousand million times.
It is against disks and not against people: whoever can write the files can write sums.
"""

import functools
import hashlib
import json
import platform
import struct
import uuid
import zlib
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PAYLOAD, DENSE, TOKENS = "sum", "dense_sum", "tokens_sum"
"""The fields; the sum of a payload is over all of it but ``PAYLOAD`` and ``TOKENS``, which are added to it later."""

ROWS = "rows"
"""The field that says how many token vectors there are; absent where there are none."""

_APART = (PAYLOAD, TOKENS)
_ENGINE = "qdrant-edge-py"
_PROCESSOR = Path("/proc/cpuinfo")


def of_payload(point: uuid.UUID, payload: Mapping[str, Any]) -> int:
    """The sum of *payload* as that of *point*: under another id it is another one."""
    counted = {name: value for name, value in payload.items() if name not in _APART}
    return zlib.crc32(json.dumps(counted, sort_keys=True, separators=(",", ":")).encode(), zlib.crc32(point.bytes))


def of_dense(vector: Sequence[float] | NDArray[Any]) -> int:
    """The sum of a dense vector as half-precision numbers; the same of what is written and of what is read back."""
    # by way of single precision, as it goes to the engine: from double at once it may be rounded otherwise
    halves = np.asarray(vector, np.float32).astype(np.float16)
    halves[np.isnan(halves)] = np.nan  # there are many, and nobody says which one comes back
    return zlib.crc32(halves.tobytes())


def of_tokens(rows: Iterable[Sequence[float]]) -> str:
    """The sum of token vectors as they were read back, with where that was."""
    found = 0
    for row in rows:
        found = zlib.crc32(_numbers(len(row)).pack(*row), found)
    return f"{reading()}:{found:08x}"


def compares(told: object) -> bool:
    """Whether *told*, a sum of token vectors, was taken where one is taken now; one that is none does not compare."""
    return isinstance(told, str) and told.startswith(f"{reading()}:")


@functools.cache
def reading() -> str:
    """What the numbers that are read back from eight bits may depend on: this processor's instructions and the engine's release."""
    kinds = (line for line in _told_by_processor().splitlines() if line.partition(":")[0].strip() in ("flags", "Features"))
    parts = (platform.machine(), next(kinds, ""), metadata.version(_ENGINE))
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=4).hexdigest()


def _told_by_processor() -> str:
    try:
        return _PROCESSOR.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


@functools.cache
def _numbers(count: int) -> struct.Struct:
    """*count* numbers of single precision: three times as fast as an array made of a list."""
    return struct.Struct(f"<{count}f")
