"""Every changed byte of a tantivy index is found, and files that are whole are not suspected."""

import shutil

import pytest
import tantivy

from kalends.adapters.embedded.lexicon_checking import damaged_files


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """An index with segments of which something was deleted."""
    folder = tmp_path_factory.mktemp("index")
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("text", stored=True)
    builder.add_text_field("key", tokenizer_name="raw")
    builder.add_unsigned_field("number", indexed=True, fast=True)
    index = tantivy.Index(builder.build(), str(folder))
    writer = index.writer()
    for number in range(1000):
        document = tantivy.Document()
        document.add_text("text", f"the river rose by {number} feet")
        document.add_text("key", str(number))
        document.add_unsigned("number", number)
        writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()
    writer = index.writer()
    for number in range(100):
        writer.delete_documents_by_term("key", str(number))
    writer.commit()
    writer.wait_merging_threads()
    return folder


def largest(folder, kind):
    """The largest file of its kind."""
    return max(folder.glob(f"*.{kind}"), key=lambda path: path.stat().st_size)


@pytest.fixture
def index(written, tmp_path):
    """A copy of it."""
    return shutil.copytree(written, tmp_path / "index")


def test_what_was_written_is_whole(index):
    """Lists of deletions too."""
    assert {path.suffix for path in index.iterdir()} >= {".term", ".idx", ".pos", ".store", ".fast", ".fieldnorm", ".del"}
    assert list(damaged_files(index)) == []


@pytest.mark.parametrize("kind", ["term", "idx", "pos", "store", "fast", "fieldnorm", "del"])
@pytest.mark.parametrize("where", [0, 0.25, -1, -20])
def test_a_flipped_byte_is_found_in_every_kind_of_file(index, kind, where):
    """At the beginning, further on, in the number at the end and in the sum."""
    path = largest(index, kind)
    content = bytearray(path.read_bytes())
    content[where if isinstance(where, int) else int(len(content) * where)] ^= 0x40
    path.write_bytes(content)

    assert list(damaged_files(index)) == [path.name]


@pytest.mark.parametrize("left", [0, 5, 100])
def test_a_file_that_was_cut_off_is_found(index, left):
    """However little is left of it."""
    path = largest(index, "idx")
    path.write_bytes(path.read_bytes()[:left])

    assert list(damaged_files(index)) == [path.name]


def test_a_list_of_segments_that_says_nothing_is_damaged(index):
    """Without it nobody knows which files count."""
    (index / "meta.json").write_bytes(b'{"segments": [')

    assert list(damaged_files(index)) == ["meta.json"]


def test_files_that_are_no_segments_do_not_count(index):
    """Such are those of a merge that goes on."""
    (index / "0123456789abcdef0123456789abcdef.idx").write_bytes(b"half")

    assert list(damaged_files(index)) == []
