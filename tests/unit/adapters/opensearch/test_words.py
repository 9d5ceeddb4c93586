"""Preparing text, which must be what the embedded engine does."""

from hypothesis import given
from tests.support.strategies import TEXTS

from kalends.adapters.embedded import words as embedded
from kalends.adapters.opensearch import words


@given(text=TEXTS)
def test_text_is_prepared_as_for_the_embedded_engine(text: str) -> None:
    """Or a question would find other events on a cluster than on a laptop."""
    normal = words.normalised(text)
    assert normal == embedded.normalised(text)
    for question in (False, True):
        assert " ".join(words.grams(normal, question=question)) == embedded.spaced_out(normal, question=question)


def test_unspaced_scripts_become_bigrams() -> None:
    """An event gives single characters too; a question only where one stands alone."""
    assert words.grams("北京大 and 猫", question=False) == ["北", "京", "大", "北京", "京大", "猫"]
    assert words.grams("北京大 and 猫", question=True) == ["北京", "京大", "猫"]
    assert words.grams("plain", question=True) == []


def test_a_long_question_is_cut_to_what_opensearch_takes() -> None:
    """Each word once; bigrams keep their places and the other fields share what is left."""
    many = [f"w{number}" for number in range(2000)]
    cut = words.bounded({"cjk": many, "stemmed": [*many, *many], "lead": many, "exact": many})

    assert sum(map(len, cut.values())) <= words.MOST_CLAUSES
    assert cut["cjk"] == many[: words.MOST_TERMS]
    assert cut["stemmed"] == many[:162]
    assert words.bounded({"stemmed": ["a", "b", "a"]}) == {"stemmed": ["a", "b"]}
