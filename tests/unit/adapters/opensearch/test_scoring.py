"""What a boost carries, and what OpenSearch computes of it."""

import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.adapters.embedded.memory_lexicon import BOOSTS
from kalends.adapters.opensearch import scoring
from kalends.domain.terms import rarity

WEIGHTS = st.floats(min_value=1e-6, max_value=1e3)
AVERAGES = st.floats(min_value=2.0**-11, max_value=2.0**19)


@given(weight=WEIGHTS, average=AVERAGES)
def test_a_boost_carries_the_weight_and_the_average_length(weight: float, average: float) -> None:
    """The weight to a few ten-thousandths, the average to half a class."""
    told, length = scoring.unpacked(scoring.packed(weight, average=average))

    assert told == pytest.approx(weight, rel=2**-12)
    assert length == pytest.approx(average, rel=2 ** (1 / 256) - 1 + 1e-6)


@given(weight=WEIGHTS, average=AVERAGES)
def test_a_boost_is_a_float_of_32_bits(weight: float, average: float) -> None:
    """OpenSearch reads it as such, and a rounding would change the class."""
    boost = scoring.packed(weight, average=average)

    assert struct.unpack("<f", struct.pack("<f", boost))[0] == boost


@pytest.mark.parametrize("average", [0.0, 1e-9, 1e12])
def test_an_average_out_of_all_bounds_takes_the_outermost_class(average: float) -> None:
    """A memory without words in a field has no average, and is not asked."""
    assert scoring.packed(1.5, average=average) == pytest.approx(1.5, rel=2**-12)


def test_a_word_weighs_what_the_embedded_engine_gives_it() -> None:
    """Rarity, the field's boost, and BM25's constant factor."""
    found = scoring.boost("lead", holding=3, events=100, words=400)

    assert found == pytest.approx(rarity(3, 100) * 3.0 * 2.2, rel=2**-12)
    assert scoring.boost("stemmed", holding=3, events=0, words=0) >= 0.0
    assert scoring.BOOSTS == BOOSTS


def test_the_script_reads_the_average_as_it_is_packed() -> None:
    """The constants in its source are those of ``unpacked``."""
    source = scoring.SIMILARITY["weight_script"]["source"]
    numbers = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", source)]
    boost = scoring.packed(3.7, average=23.0)
    (bits,) = struct.unpack("<I", struct.pack("<f", boost))
    product, base, mask, per_octave, smallest = numbers

    assert product / base ** ((bits & int(mask)) / per_octave - smallest) == pytest.approx(0.9 / scoring.unpacked(boost)[1])
