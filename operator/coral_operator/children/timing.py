"""How long an engine may take to start and to stop.

None of these numbers depends on demand, targets or traffic: a change of those must not restart an
instance that the plan keeps.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from coral_solver.performance.memory import weight_bytes

if TYPE_CHECKING:
    from coral_solver.domain.workload import ServedModel

LOAD_BYTES_PER_S = 100e6
"""Slowest download or read of weights that counts as a start and not as a fault (assumption).

About a tenth of a 10 Gbit/s network, the slowest that current GPU instances come with.
"""

ENGINE_START_S = 900.0
"""Start of the engine without the weights, at worst: imports, compilation, CUDA graphs.

An assumption; 50-55 s were seen for a tiny model on two CPU cores (vLLM 0.32, CPU build).
"""

GROUP_START_S = 900.0
"""What the other stages of a pipeline may be late, at worst: pulling a 10 GB image."""

EXECUTE_TIMEOUT_S = 60
"""Longest step of a pipeline before vLLM takes a silent stage for dead; its default is 300 s.

A leader does not notice that another stage died until a step hangs for this long.
"""

ENDPOINT_REMOVAL_S = 10
"""Time for a pod's removal to reach those who send it requests, before it refuses new ones."""

SHUTDOWN_TIMEOUT_S = 300
"""Time for running requests to end; an idle engine leaves at once.

4,000 tokens at 50 ms take 200 s.
"""

EXIT_S = 30
"""Time for the processes to exit once the last request has ended; 6 to 15 s were seen."""

GRACE_S = ENDPOINT_REMOVAL_S + SHUTDOWN_TIMEOUT_S + EXIT_S


def start_budget_s(model: ServedModel, stages: int) -> int:
    """Return how long an engine may take to become healthy, in seconds.

    Parameters
    ----------
    model
        Model whose weights are loaded; every stage may download all of them.
    stages
        Pipeline stages of the instance.
    """
    load_s = weight_bytes(model.arch, model.arch.native_precision) / LOAD_BYTES_PER_S
    return math.ceil(ENGINE_START_S + load_s + (GROUP_START_S if stages > 1 else 0.0))
