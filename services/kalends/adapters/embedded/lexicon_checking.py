"""Whether the files of a tantivy index are what was written.

Belongs here: the sums that tantivy keeps at the end of its files. Does not belong here: when they are looked at (``index.reconciling``), or
what is done about it. A newcomer would get wrong: tantivy itself compares them only when it is told to, which its Python bindings cannot;
a changed byte in a list of postings is no error to it but other answers. Files come and go while this looks, so one that is gone is none
that is damaged.

The form of a footer is that of tantivy 0.22 to 0.27 (``directory/footer.rs``): the file, a JSON object with ``crc``, its length and a magic
number, each as 32 bits, little-endian. The sum is CRC-32 (IEEE 802.3).
"""

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

_MAGIC = 1337
_TAIL = struct.Struct("<II")
_LONGEST_FOOTER = 4096
_PIECE = 1 << 20


def damaged_files(folder: Path) -> Iterator[str]:
    """Names of the committed files of the index in *folder* that are not what was written; ``meta.json`` itself if it says nothing."""
    try:
        told = json.loads((folder / "meta.json").read_bytes())
        segments = [str(one["segment_id"]).replace("-", "") for one in told["segments"]]
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        yield "meta.json"
        return
    for segment in segments:
        for path in sorted(folder.glob(f"{segment}.*")):
            try:
                if not _is_whole(path):
                    yield path.name
            except FileNotFoundError:
                continue


def _is_whole(path: Path) -> bool:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - _TAIL.size))
        tail = file.read()
        if len(tail) < _TAIL.size:
            return False
        length, magic = _TAIL.unpack(tail)
        body = size - _TAIL.size - length
        if magic != _MAGIC or length > _LONGEST_FOOTER or body < 0:
            return False
        file.seek(body)
        try:
            expected = json.loads(file.read(length))["crc"]
        except (ValueError, KeyError, TypeError):
            return False
        file.seek(0)
        found, left = 0, body
        while left > 0:
            piece = file.read(min(_PIECE, left))
            if not piece:
                return False
            found, left = zlib.crc32(piece, found), left - len(piece)
    return bool(found == expected)
