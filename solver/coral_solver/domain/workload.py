"""Models, their latency targets, their traffic."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coral_solver.domain.hardware import Precision
    from coral_solver.domain.profile import MeasuredPoint

DEFAULT_LENGTH_CV = 1.0
"""Coefficient of variation that is assumed where only a mean length is given.

The Azure conversation trace of 2023 has 1.0 for inputs (data: Azure LLM inference traces 2023).
"""

LENGTH_POINTS = 20
"""Number of equally likely points that a length distribution is reduced to."""


class Phase(StrEnum):
    """Which part of a request an instance serves."""

    PREFILL = "PREFILL"
    DECODE = "DECODE"
    WHOLE = "WHOLE"


class ServingMode(StrEnum):
    """Which phases a model may be served with."""

    AGGREGATED = "Aggregated"
    DISAGGREGATED = "Disaggregated"
    AUTO = "Auto"

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Phases whose templates the mode allows."""
        if self is ServingMode.AGGREGATED:
            return (Phase.WHOLE,)
        if self is ServingMode.DISAGGREGATED:
            return (Phase.PREFILL, Phase.DECODE)
        return (Phase.WHOLE, Phase.PREFILL, Phase.DECODE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelArch:
    """The shape of a transformer decoder, as its ``config.json`` gives it.

    Attributes
    ----------
    name
        Coral's name, for example ``llama-3-70b``.
    hub_id
        Name on the model hub, for example ``meta-llama/Llama-3.1-70B``; None if there is none.
    layers, hidden_size, attention_heads, kv_heads, head_dim, intermediate_size, vocab_size
        As in ``config.json``. ``intermediate_size`` is that of the dense feed-forward block.
    experts, experts_per_token, moe_intermediate_size
        0, 0, 0 for a dense model.
    sliding_window_tokens, sliding_layers
        Layers whose attention sees only the last ``sliding_window_tokens``; 0, 0 without.
    tied_embeddings
        The output head is the embedding table.
    attention_bias
        The attention projections have biases.
    max_context_tokens
        Longest input plus output that the model was made for.
    native_precision
        Format in which the weights are published.
    source
        Where the numbers come from.
    """

    name: str
    hub_id: str | None
    layers: int
    hidden_size: int
    attention_heads: int
    kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    experts: int = 0
    experts_per_token: int = 0
    moe_intermediate_size: int = 0
    sliding_window_tokens: int = 0
    sliding_layers: int = 0
    tied_embeddings: bool = False
    attention_bias: bool = False
    max_context_tokens: int
    native_precision: Precision
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """Latency targets of a model.

    Attributes
    ----------
    ttft_s
        Time to the first token, in seconds.
    tpot_s
        Time per output token after the first, in seconds.
    attainment
        Share of requests that must meet both.
    """

    ttft_s: float
    tpot_s: float
    attainment: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthDistribution:
    """Lengths of inputs or of outputs, in tokens.

    Attributes
    ----------
    mean_tokens
        Mean length.
    points_tokens
        ``LENGTH_POINTS`` equally likely lengths, ascending; their mean is ``mean_tokens``.
    """

    mean_tokens: float
    points_tokens: tuple[float, ...]

    @classmethod
    def from_mean(cls, mean_tokens: float, *, cv: float = DEFAULT_LENGTH_CV) -> LengthDistribution:
        """Build a log-normal distribution from its mean.

        Parameters
        ----------
        mean_tokens
            Mean length; positive.
        cv
            Coefficient of variation; 0 gives a constant length.

        Returns
        -------
        LengthDistribution
            Points at the middles of equally likely slices, scaled to the exact mean.
        """
        sigma = math.sqrt(math.log1p(cv * cv))
        normal = NormalDist()
        middles = [(i + 0.5) / LENGTH_POINTS for i in range(LENGTH_POINTS)]
        raw = [math.exp(sigma * normal.inv_cdf(q)) for q in middles]
        scale = mean_tokens * LENGTH_POINTS / sum(raw)
        return cls(mean_tokens=mean_tokens, points_tokens=tuple(x * scale for x in raw))

    @classmethod
    def from_quantiles(cls, quantiles: dict[float, float]) -> LengthDistribution:
        """Build a distribution from quantiles, linear between them.

        Parameters
        ----------
        quantiles
            Length in tokens by quantile in [0, 1]; at least two, ascending together. Below the
            first and above the last one the length stays constant.

        Returns
        -------
        LengthDistribution
            ``LENGTH_POINTS`` middles of equally likely slices.
        """
        items = sorted(quantiles.items())
        points = []
        for i in range(LENGTH_POINTS):
            q = (i + 0.5) / LENGTH_POINTS
            below = [item for item in items if item[0] <= q]
            above = [item for item in items if item[0] > q]
            if not below:
                points.append(above[0][1])
            elif not above:
                points.append(below[-1][1])
            else:
                (q0, x0), (q1, x1) = below[-1], above[0]
                points.append(x0 + (x1 - x0) * (q - q0) / (q1 - q0))
        return cls(mean_tokens=sum(points) / len(points), points_tokens=tuple(points))

    @property
    def cv2(self) -> float:
        """Squared coefficient of variation of the points."""
        mean = self.mean_tokens
        return sum((x - mean) ** 2 for x in self.points_tokens) / len(self.points_tokens) / mean**2

    @property
    def longest_tokens(self) -> float:
        """The longest of the points: about the 97.5th percentile."""
        return self.points_tokens[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What requests of one model look like.

    Attributes
    ----------
    input_tokens, output_tokens
        Length distributions.
    burstiness
        Squared coefficient of variation of the times between arrivals; 1.0 is Poisson.
    """

    input_tokens: LengthDistribution
    output_tokens: LengthDistribution
    burstiness: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """One model of one service: what to serve, how fast, how much of it, on what.

    Attributes
    ----------
    id
        ``namespace/service/model``; unique in a planning problem.
    arch, precision
        The model, and the format in which its weights are served.
    slo, workload
        Latency targets and the shape of the traffic.
    demand_req_per_s
        Rate to serve. 0 is legal: the model then gets what ``min_replicas`` asks for.
    headroom
        Share of the demand to plan on top of it, for example 0.2. Soft: it comes after every
        model's raw demand.
    priority
        Higher is served first under the ``Priority`` scarcity policy.
    min_replicas
        Instances wanted even without demand. Soft, like headroom.
    serving
        Which phases may be used.
    allowed_gpus, denied_gpus
        GPU type names. None: every type.
    max_model_len_tokens
        Longest request to accept; None: the engine settings choose it from the workload.
    measured
        Measured points of this architecture in this precision, sorted: they correct what is
        predicted for it. The planner takes them from the problem's profiles.
    robustness
        Share of the lower half of the error bar that predictions leave out; the planner takes it
        from the policy.
    """

    id: str
    arch: ModelArch
    precision: Precision
    slo: Slo
    workload: Workload
    demand_req_per_s: float
    headroom: float = 0.0
    priority: int = 0
    min_replicas: int = 0
    serving: ServingMode = ServingMode.AGGREGATED
    allowed_gpus: frozenset[str] | None = None
    denied_gpus: frozenset[str] = frozenset()
    max_model_len_tokens: int | None = None
    measured: tuple[MeasuredPoint, ...] = ()
    robustness: float = 0.0

    @property
    def targets_digest(self) -> str:
        """Short digest of all that a prediction rests on besides the placement."""
        facts: tuple[object, ...]
        facts = (self.arch, self.precision, self.slo, self.workload, self.max_model_len_tokens)
        if self.measured or self.robustness:
            facts = (*facts, self.measured, self.robustness)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    def may_use(self, gpu: str) -> bool:
        """Return whether the model may run on this GPU type."""
        return gpu not in self.denied_gpus and (
            self.allowed_gpus is None or gpu in self.allowed_gpus
        )
