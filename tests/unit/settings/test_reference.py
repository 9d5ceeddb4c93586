"""The page of settings in the reference."""

from kalends.settings import reference, table


def test_the_page_names_every_setting_and_its_variable_once():
    """Whoever searches the page for either finds its row."""
    rows = [line for line in reference.render().splitlines() if line.startswith("| `")]

    assert [tuple(row.split("`")[1:4:2]) for row in rows] == [(key, variable) for key, variable, *_ in table()]


def test_every_row_has_four_cells():
    """A bar in a description would break the table."""
    rows = [line for line in reference.render().splitlines() if line.startswith("|")]

    assert {row.count("|") for row in rows} == {5}


def test_the_page_is_written_to_the_named_file(tmp_path):
    """``make docs`` names it."""
    reference.main([str(tmp_path / "settings.md")])

    assert (tmp_path / "settings.md").read_text(encoding="utf-8") == reference.render()
