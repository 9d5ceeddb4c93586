"""A file fits the head and a function fits the screen."""

from tests.architecture import sources

FILE_LINES = 500
FUNCTION_LINES = 60


def test_no_file_is_longer_than_500_lines():
    """A longer file holds two concerns; split it by concern."""
    too_long = {}
    for path in sources.modules():
        count = len(path.read_text(encoding="utf-8").splitlines())
        if count > FILE_LINES:
            too_long[sources.place(path)] = count

    assert too_long == {}


def test_no_function_is_longer_than_60_lines():
    """A longer function does two things; name the second."""
    too_long = {
        sources.place(path, node.lineno): f"{node.name}: {sources.lines(node)} lines"
        for path in sources.modules()
        for node in sources.functions(path)
        if sources.lines(node) > FUNCTION_LINES
    }

    assert too_long == {}
