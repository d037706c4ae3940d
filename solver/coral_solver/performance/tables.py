"""The contract between the performance model and stage 1: all that a placement search needs.

Two tables, one per placement space. Stage 1 only compares numbers of these tables; it knows no
GPU, no byte and no latency target.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from coral_solver.domain.hardware import NodeConfig


class StageRole(IntEnum):
    """What a stage holds besides its layers: the embedding (first), the head (last), both."""

    FIRST = 0
    MIDDLE = 1
    LAST = 2
    ONLY = 3


def role_of(stage: int, stages: int) -> StageRole:
    """Return the role of stage number ``stage`` (from 0) of a pipeline of ``stages``."""
    if stages == 1:
        return StageRole.ONLY
    if stage == 0:
        return StageRole.FIRST
    return StageRole.LAST if stage == stages - 1 else StageRole.MIDDLE


@dataclass(frozen=True, slots=True, kw_only=True)
class SeparableTables:
    """Stage rates that do not depend on the other stages: the ``paper`` rule.

    Attributes
    ----------
    configs
        Node configurations, C of them.
    memory_gib
        Shape (C,): total memory of each configuration.
    weight_gib
        Memory of all weights of the model, the number that ``rho`` multiplies.
    rate_req_per_s
        Shape (S, 4, C, L + 1): rate of one node configuration that holds ``j`` layers with a role
        in a pipeline of ``s + 1`` stages, each with a share ``1 / (s + 1)`` of the SLO. Not
        increasing in ``j``; 0 where it does not fit or misses the SLO. Column 0 is unused.
        Within a stage the rates of its configurations add up; a pipeline is as fast as its
        slowest stage.
    """

    configs: tuple[NodeConfig, ...]
    memory_gib: NDArray[np.float64]
    weight_gib: float
    rate_req_per_s: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class JointTables:
    """Stage times at a joint batch: the ``operator`` rule on pipelines of equal tensor parallelism.

    An operating point ``p`` fixes the joint micro-batch and the engine settings of all stages. At
    a point the step time of a stage that holds ``j`` layers is
    ``j * layer_s[s, p, c] + extra_s[s, p, role, c]`` in a pipeline of ``s + 1`` stages. A
    pipeline's capacity at the point depends on the placement only through ``tau_s``, the largest
    step time, and ``stretch``, the largest ``stretch[s, p, role, c]`` of its stages; it never
    rises with either.
    ``coral_solver.performance.capacity.joint_capacity`` computes it.

    Attributes
    ----------
    configs
        Node configurations, C of them, all with the same ``gpu_count``.
    memory_gib
        Shape (C,): total memory of each configuration.
    weight_gib
        Memory of all weights of the model, the number that ``rho`` multiplies.
    layer_s
        Shape (S, P, C): time of one layer in a pipeline of ``s + 1`` stages. It depends on the
        number of stages: a micro-batch that carries a prompt holds up the others in flight.
    extra_s
        Shape (S, P, 4, C): time of what the role adds (embedding, head) and of the hop to the
        next stage.
    stretch
        Shape (S, P, 4, C): how far the stage's other steps differ from its typical one, for any
        number of layers from half the mean number on. DECODE and WHOLE: time of a step with a
        full token budget over the typical one. PREFILL, where the typical step is full: time of
        an empty step over the full one.
    max_layers
        Shape (S, P, 4, C): most layers that fit beside the KV cache of the ``s + 1`` micro-batches
        in flight; 0 where none fit.
    point_params
        Shape (P, K): what ``joint_capacity`` needs to know of a point (batch, token budget, ...);
        stage 1 passes rows through without reading them.
    request_params
        Shape (Q,): what ``joint_capacity`` needs to know of the SLO and the workload; passed
        through.
    """

    configs: tuple[NodeConfig, ...]
    memory_gib: NDArray[np.float64]
    weight_gib: float
    layer_s: NDArray[np.float64]
    extra_s: NDArray[np.float64]
    stretch: NDArray[np.float64]
    max_layers: NDArray[np.int64]
    point_params: NDArray[np.float64]
    request_params: NDArray[np.float64]
