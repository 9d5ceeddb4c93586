"""What reaches a terminal."""

import pytest

from kalends.app.output import harmless


@pytest.mark.parametrize("text", ["plain", "zwei\nZeilen\tund Tab", "日本語 👩‍🚀", "a‌b"])
def test_ordinary_text_is_untouched(text):
    """Line ends, tabs, joiners and every script stay."""
    assert harmless(text) == text


@pytest.mark.parametrize("text", ["\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "a\rb", "\u202eevil", "\x00"])
def test_nothing_a_terminal_would_obey_gets_through(text):
    """Whoever wrote the event does not command the reader's terminal."""
    assert not set(harmless(text)) & set("\x1b\x07\x9b\r\u202e\x00")
