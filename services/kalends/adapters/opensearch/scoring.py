"""BM25 with the statistics of one memory, in an index that many share.

Belongs here: the similarity that OpenSearch computes, and how a word's weight and the memory's average length reach it. Does not belong
here: where the statistics come from (``questions``). A newcomer would get wrong: OpenSearch's own BM25 takes both from all documents of a
shard, which ranks worse and tells one owner about another. Its scripts see of a question only one number, the boost, so that carries both:
the weight, and in its twelve lowest bits the class of the average length. A class is 0.54% wide and the weight is exact to 0.03%.
"""

import math
import struct
from collections.abc import Mapping
from typing import Any, Final

from kalends.domain.terms import rarity

K1: Final = 1.2
B: Final = 0.75

BOOSTS: Final[Mapping[str, float]] = {"stemmed": 1.0, "lead": 3.0, "exact": 0.05, "cjk": 1.0}
"""What a word counts in each field; the same as in the embedded engine, which is what they were measured with."""

_CLASS_BITS = 12
_CLASSES = 1 << _CLASS_BITS
_PER_OCTAVE = 128
_SMALLEST = 12
"""Averages go from 2^-12 to 2^20 words."""

SIMILARITY: Final[Mapping[str, Any]] = {
    "type": "scripted",
    # once for each word of a question: what a document's length is multiplied with
    "weight_script": {
        "source": (
            f"return {K1 * B} / Math.pow(2.0, (Float.floatToIntBits((float) query.boost) & {_CLASSES - 1})"
            f" / {float(_PER_OCTAVE)} - {float(_SMALLEST)});"
        )
    },
    # for each document that holds the word
    "script": {"source": f"return query.boost * doc.freq / (doc.freq + {K1 * (1 - B)} + weight * doc.length);"},
}


def boost(field: str, *, holding: int, events: int, words: int) -> float:
    """The boost of a word that *holding* of *events* hold in *field*, which has *words* words in all of them together."""
    weight = rarity(min(holding, events), events) * BOOSTS[field] * (1 + K1)
    return packed(weight, average=words / events if events else 0.0)


def packed(weight: float, *, average: float) -> float:
    """*weight* with the class of *average* in its lowest bits: of the floats of 32 bits that have these bits, the nearest."""
    found = round((math.log2(average) + _SMALLEST) * _PER_OCTAVE) if average > 0 else 0
    number = min(max(found, 0), _CLASSES - 1)
    (bits,) = struct.unpack("<I", struct.pack("<f", weight))
    near = (bits & ~(_CLASSES - 1)) | number
    (nearest,) = struct.unpack("<f", struct.pack("<I", min((near - _CLASSES, near, near + _CLASSES), key=lambda one: abs(one - bits))))
    return float(nearest)


def unpacked(value: float) -> tuple[float, float]:
    """The weight and the average length that OpenSearch reads from a boost."""
    (bits,) = struct.unpack("<I", struct.pack("<f", value))
    return value, 2.0 ** ((bits & (_CLASSES - 1)) / _PER_OCTAVE - _SMALLEST)
