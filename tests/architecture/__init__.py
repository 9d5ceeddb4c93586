"""Rules of the repository that no tool knows: each test is one rule, and its failure lists every offender."""
