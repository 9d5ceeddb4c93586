"""How many words of a question are asked for."""

from kalends.adapters.opensearch import words


def test_a_long_question_is_cut_to_what_opensearch_takes() -> None:
    """Each word once; bigrams keep their places and the other fields share what is left."""
    many = [f"w{number}" for number in range(2000)]
    cut = words.bounded({"cjk": many, "stemmed": [*many, *many], "lead": many, "exact": many})

    assert sum(map(len, cut.values())) <= words.MOST_CLAUSES
    assert cut["cjk"] == many[: words.MOST_TERMS]
    assert cut["stemmed"] == many[:162]
    assert words.bounded({"stemmed": ["a", "b", "a"]}) == {"stemmed": ["a", "b"]}
