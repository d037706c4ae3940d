"""Names of new instances: short, DNS-safe, the same for the same input."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from coral_solver.domain.template import ServingTemplate

MAX_NAME_LENGTH = 40
"""Leaves room for what Kubernetes children append within the 63 characters of a label."""

_MAX_WORD_LENGTH = MAX_NAME_LENGTH - len("-0000-") - 6  # and up to six digits of the number


class NameBook:
    """Gives names that nothing in force has.

    A name in force is never given again in the same plan, whether its instance stays or goes:
    the children of an instance that goes may still be there when the new ones are made.

    Parameters
    ----------
    taken
        Names in force.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)

    def give(self, template: ServingTemplate) -> str:
        """Return ``<model>-<digest of the template>-<number>`` with the least free number."""
        word = re.sub(r"[^a-z0-9]+", "-", template.model_id.rsplit("/", 1)[-1].lower()).strip("-")
        # A Service name may not begin with a digit (RFC 1035).
        word = word if word[:1].isalpha() else f"m-{word}"
        text = f"{template.model_id} {template.id}"
        digest = hashlib.sha256(text.encode()).hexdigest()[:4]
        stem = f"{word[:_MAX_WORD_LENGTH].rstrip('-')}-{digest}"
        number = 1
        while f"{stem}-{number}" in self._taken:
            number += 1
        name = f"{stem}-{number}"
        self._taken.add(name)
        return name
