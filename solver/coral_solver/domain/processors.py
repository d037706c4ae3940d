"""How many processors there are to use."""

from __future__ import annotations

import os


def num_threads() -> int:
    """Return how many threads can work at the same time."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
