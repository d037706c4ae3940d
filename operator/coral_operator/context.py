"""What the handlers reach: kopf gives every handler this object as its memo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coral_operator.heart import Heart
    from coral_operator.observe.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The parts of the operator that handlers touch; kopf copies it, shallowly, per object.

    Attributes
    ----------
    store
        Where the watches' findings go.
    heart
        What the probe asks.
    """

    store: Store
    heart: Heart
