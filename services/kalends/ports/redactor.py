"""Finding secrets and personal data in texts, so that they can be kept out of the store."""

from collections.abc import Sequence
from typing import Protocol

from kalends.domain.redaction import Finding


class Redactor(Protocol):
    """Knows what secrets and personal data look like; asks nobody, keeps nothing."""

    def find(self, text: str, categories: frozenset[str]) -> Sequence[Finding]:
        """What *text* holds of *categories* (``domain.redaction.CATEGORIES``); spans may overlap.

        Computes; the time grows in proportion to the text, whatever it holds. A mask (``domain.redaction.mask``) is never a finding.
        """
        ...
