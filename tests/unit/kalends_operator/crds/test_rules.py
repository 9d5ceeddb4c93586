"""Rules are expressions with words for people."""

from kalends_operator.crds import rules


def test_a_pattern_means_the_whole_text():
    """A part of a text that matches is not enough, also where the pattern is a choice."""
    assert rules.matches("a|b", message="a or b").cel == "self.matches(r'^(a|b)$')"


def test_what_is_immutable_stays_absent_too():
    """A transition rule of the field itself would not be looked at when the field comes or goes."""
    assert rules.immutable("x", message="no").cel == "has(self.x) == has(oldSelf.x) && (!has(self.x) || self.x == oldSelf.x)"


def test_what_is_kept_may_come():
    """Once it is there it neither changes nor goes."""
    assert rules.kept("x", message="no").cel == "!has(oldSelf.x) || (has(self.x) && self.x == oldSelf.x)"


def test_exactly_one_of_several_is_counted():
    """Two are as wrong as none."""
    assert rules.exactly_one("has(self.a)", "self.b", message="one").cel == "[has(self.a), self.b].exists_one(given, given)"
