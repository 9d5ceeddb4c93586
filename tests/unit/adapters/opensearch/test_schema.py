"""What an index is made of."""

from kalends.adapters.opensearch import schema
from kalends.adapters.opensearch.scoring import BOOSTS

BODY = schema.index_body(shards=3, replicas=1, aliases={"a.writes": {}})
FIELDS = BODY["mappings"]["properties"]


def test_no_field_comes_into_being_by_itself_and_no_text_is_kept() -> None:
    """What is not in the mapping is refused, and of a document only ids are stored."""
    assert BODY["mappings"]["dynamic"] == "strict"
    assert BODY["mappings"]["_source"] == {"includes": ["scope", "dead"]}
    assert BODY["mappings"]["_routing"] == {"required": True}


def test_what_was_acknowledged_is_on_the_disk() -> None:
    """Not every five seconds."""
    assert BODY["settings"]["index"]["translog.durability"] == "request"


def test_every_field_of_words_is_scored_by_our_similarity_and_has_its_length_counted() -> None:
    """One that was forgotten would be ranked by what all memories hold together."""
    for field in BOOSTS:
        name, _, sub = schema.PATHS[field].partition(".")
        found = FIELDS[name]["fields"][sub] if sub else FIELDS[name]
        parent, _, length = schema.LENGTHS[field].partition(".")
        assert found["similarity"] in BODY["settings"]["index"]["similarity"]
        assert found["analyzer"] == schema.WORD_FIELDS[field] == FIELDS[parent]["fields"][length]["analyzer"]


def test_the_format_is_read_back() -> None:
    """Of an index that is none of ours there is none."""
    assert schema.format_of(BODY["mappings"]) == schema.FORMAT
    assert [schema.format_of(other) for other in ({}, None, {"_meta": 1})] == ["", "", ""]
