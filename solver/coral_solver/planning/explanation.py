"""What an explanation of a plan holds: plain values, for any output."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coral_solver.domain.plan import AllocationPlan
    from coral_solver.planning.difference import Difference


class Limit(StrEnum):
    """How a question about a GPU type narrows what a model may use."""

    WITHOUT = "without"
    ONLY = "only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """The plan again, with a model kept off a GPU type or kept to one.

    Attributes
    ----------
    limit, gpu
        What the model may use.
    gpus_now
        What the model runs on then: GPUs by type(s).
    difference
        Against the plan that is explained.
    """

    limit: Limit
    gpu: str
    gpus_now: Mapping[str, int]
    difference: Difference


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateUse:
    """Equal instances of a model in one pool (or the same pools).

    Attributes
    ----------
    phase, template, gpu, gpus, pools
        What runs; ``gpus`` of one instance.
    copies
        How many.
    capacity_req_per_s, usd_per_hour
        Of all of them.
    ttft_s, tpot_s
        Predicted at capacity; 0 where the phase has no such latency.
    ttft_margin, tpot_margin
        Share of the target that is left; None where the phase has no such latency.
    prediction_source, error_share
        What the prediction rests on, and its error bar as a share; None: not known.
    """

    phase: str
    template: str
    gpu: str
    gpus: int
    pools: tuple[str, ...]
    copies: int
    capacity_req_per_s: float
    usd_per_hour: float
    ttft_s: float
    tpot_s: float
    ttft_margin: float | None
    tpot_margin: float | None
    prediction_source: str
    error_share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """The least number of nodes more in one pool that serve a model in full.

    Attributes
    ----------
    pool
        Name of the pool.
    nodes
        How many more; None where ``tried_nodes`` more do not do.
    tried_nodes
        The most that were tried.
    is_least
        It is proven that one node less does not do.
    node_usd_per_hour
        Price of one node of the pool.
    difference
        Of the plan with ``nodes`` more (with ``tried_nodes`` more if that is None) against the
        plan that is explained.
    """

    pool: str
    nodes: int | None
    tried_nodes: int
    is_least: bool
    node_usd_per_hour: float
    difference: Difference


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """Why a model is not served in full, and what would help.

    Attributes
    ----------
    reason, message
        As in the plan's outcome.
    usable_pools
        Pools whose GPU type the model may use and has templates for.
    remedies
        One for each usable pool that was tried, the cheapest that helps first.
    """

    reason: str
    message: str
    usable_pools: tuple[str, ...]
    remedies: tuple[Remedy, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelExplanation:
    """Why one model is served as it is.

    Attributes
    ----------
    model
        Its id.
    demand_req_per_s, capacity_req_per_s, unmet_req_per_s, usd_per_hour
        As in the plan's outcome.
    usd_per_million_tokens, usd_per_million_output_tokens
        Rent over the tokens of the requests that are served, input and output together and
        output alone; None where nothing is served.
    templates
        What runs.
    alternatives
        What each other choice of GPU types would do, cheapest first.
    shortage
        None where the model is served.
    """

    model: str
    demand_req_per_s: float
    capacity_req_per_s: float
    unmet_req_per_s: float
    usd_per_hour: float
    usd_per_million_tokens: float | None
    usd_per_million_output_tokens: float | None
    templates: tuple[TemplateUse, ...]
    alternatives: tuple[Alternative, ...]
    shortage: Shortage | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolExplanation:
    """What a pool is used for, and what one more node of it would do.

    Attributes
    ----------
    pool, gpu, gpus_per_node, node_usd_per_hour, is_elastic
        The pool.
    gpus
        GPUs that the plan may use: free ones; those of every node that may be open, if elastic.
    gpus_used
        GPUs that it uses.
    opened_nodes
        Nodes that are paid whole; None for a fixed pool, where the GPUs in use are paid.
    used_by
        GPUs by model.
    one_more_node
        The plan with one more node against the plan that is explained; None: not asked.
    """

    pool: str
    gpu: str
    gpus_per_node: int
    node_usd_per_hour: float
    is_elastic: bool
    gpus: int
    gpus_used: int
    opened_nodes: int | None
    used_by: Mapping[str, int]
    one_more_node: Difference | None

    @property
    def is_full(self) -> bool:
        """Whether every GPU is in use."""
        return self.gpus_used >= self.gpus

    @property
    def binds(self) -> bool:
        """Whether one more node is proven to serve more or to save."""
        return self.one_more_node is not None and self.one_more_node.is_proven


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A plan with the reasons for it.

    Attributes
    ----------
    plan
        The plan that is explained.
    charges_switching
        Whether costs contain the charge for starting instances.
    models
        By id.
    pools
        By name.
    solves
        Plans that were made to find the answers, the explained one included.
    unanswered
        Questions that the time did not allow, or that the solver failed at, in words.
    """

    plan: AllocationPlan
    charges_switching: bool
    models: tuple[ModelExplanation, ...]
    pools: tuple[PoolExplanation, ...]
    solves: int
    unanswered: tuple[str, ...]
