"""Serving templates: a placement with its predicted capacity and its engine settings."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from coral_solver.domain.hardware import NodeConfig
    from coral_solver.domain.workload import Phase


class PlacementSpace(StrEnum):
    """Which placements stage 1 searches (docs/model.md, "Placement spaces")."""

    PAPER = "paper"
    VLLM = "vllm"


class CapacityRule(StrEnum):
    """How the capacity of a placement is derived from its stage times."""

    PAPER = "paper"
    OPERATOR = "operator"


class StagePlacement(NamedTuple):
    """One pipeline stage: how many consecutive layers, on which node configurations.

    In the ``vllm`` space a stage has exactly one node configuration: one pod. In the ``paper``
    space several may share a stage, in data parallel; they are sorted.
    """

    layers: int
    configs: tuple[NodeConfig, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Settings of vLLM that a prediction assumes and the pods must therefore run with.

    Attributes
    ----------
    tensor_parallel, pipeline_parallel
        Sizes of the two kinds of parallelism.
    layers_per_stage
        Layers of each pipeline stage, first to last.
    max_model_len_tokens
        Longest request that is accepted.
    max_num_seqs
        Most requests that run at once, over all micro-batches.
    max_num_batched_tokens
        Token budget of one step.
    gpu_memory_utilization
        Share of the GPU's memory that the engine may take.
    """

    tensor_parallel: int
    pipeline_parallel: int
    layers_per_stage: tuple[int, ...]
    max_model_len_tokens: int
    max_num_seqs: int
    max_num_batched_tokens: int
    gpu_memory_utilization: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What the performance model expects of a template that runs at its capacity.

    Attributes
    ----------
    capacity_req_per_s
        Largest rate that meets the SLO under the capacity rule in use.
    ttft_s, tpot_s
        Latencies at that rate: at the attainment quantile under the ``operator`` rule, at mean
        lengths under the ``paper`` rule.  0 where the phase does not have the latency.
    batch_per_stage
        Joint micro-batch of the stages: sequences (``DECODE``, ``WHOLE``) or prompts.
    source
        What the prediction rests on, for example ``physical model``.
    error_share
        Half width of the error bar as a share of the capacity; None: not known.
    """

    capacity_req_per_s: float
    ttft_s: float
    tpot_s: float
    batch_per_stage: float
    source: str
    error_share: float | None = None


@dataclass(frozen=True, kw_only=True)
class ServingTemplate:
    """One way to run one phase of one model, with what it can carry.

    Attributes
    ----------
    model_id
        ``ServedModel.id`` that the template is for.
    phase
        Phase that it serves.
    stages
        Pipeline stages, first to last.
    prediction
        Capacity and latencies.
    made_for
        ``ServedModel.targets_digest`` of the model that the prediction was made for. It is no part
        of ``id``: pods do not depend on it.
    engine
        Settings that the prediction assumes; None in the ``paper`` space, which vLLM cannot run.
    """

    model_id: str
    phase: Phase
    stages: tuple[StagePlacement, ...]
    prediction: Prediction
    made_for: str
    engine: EngineSettings | None = None

    @property
    def capacity_req_per_s(self) -> float:
        """Largest rate within the SLO."""
        return self.prediction.capacity_req_per_s

    @property
    def configs(self) -> tuple[NodeConfig, ...]:
        """Node configurations stage by stage: one for each slice of an instance, in its order."""
        return tuple(config for stage in self.stages for config in stage.configs)

    @cached_property
    def config_counts(self) -> Counter[NodeConfig]:
        """Number of each node configuration that one instance takes."""
        return Counter(self.configs)

    @cached_property
    def gpu_count(self) -> int:
        """GPUs that one instance takes."""
        return sum(config.gpu_count * n for config, n in self.config_counts.items())

    @property
    def gpu(self) -> str:
        """GPU type, or several in order, joined by ``+``."""
        return "+".join(sorted({config.gpu for config in self.config_counts}))

    @property
    def is_homogeneous(self) -> bool:
        """Whether every node configuration of the template is the same."""
        return len(self.config_counts) == 1

    @cached_property
    def id(self) -> str:
        """Short stable name: what it is made of, then a digest of all that its pods depend on."""
        text = repr((self.model_id, self.phase.value, self.stages, self.engine))
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        parts = "-".join(
            "+".join(f"{c.gpu}x{c.gpu_count}" for c in stage.configs) for stage in self.stages
        )
        return f"{self.phase.value.lower()}-{parts}-{digest}".lower()
