"""Where the templates of stage 2 come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from coral_solver.domain.hardware import NodeConfig
    from coral_solver.domain.template import ServingTemplate
    from coral_solver.domain.workload import ServedModel


class TemplateSource(Protocol):
    """Gives stage 2 its templates: a library today, exact pricing without a library later."""

    @property
    def scope(self) -> str:
        """In words: which templates the bounds of a plan made from this source hold for."""
        ...

    def templates(
        self, model: ServedModel, configs: Sequence[NodeConfig]
    ) -> Sequence[ServingTemplate]:
        """Return every useful template of a model that can be built from some configurations.

        Parameters
        ----------
        model
            The model, with its SLO and its traffic; phases and GPU types it does not allow are
            left out.
        configs
            Node configurations on offer, sorted.

        Returns
        -------
        Sequence[ServingTemplate]
            In a fixed order that depends on the inputs only. A template within ``scope`` may be
            left out only if one or several others of the same phase together need a sub-multiset
            of its configurations and together carry at least as much: stage 2 loses nothing then.
        """
        ...


class Room(NamedTuple):
    """What a template must fit into when all else is empty.

    A template with ``counts`` fits where ``counts @ units <= slots`` in every entry.

    Attributes
    ----------
    units
        Shape (C, C): ``units[i, j]`` slices of configuration ``j`` are lost to one of ``i``.
    slots
        Shape (C,): how many slices of each configuration the empty nodes hold.
    """

    units: NDArray[np.int64]
    slots: NDArray[np.int64]


class PricedTemplates(NamedTuple):
    """Templates of one model and phase at some prices, by ascending cost.

    Attributes
    ----------
    capacity_req_per_s
        Shape (N,).
    cost
        Shape (N,): price of all slices, in the unit of the prices.
    counts
        Shape (N, C): how many of each node configuration each takes.
    handles
        Shape (N,): what ``TemplatePricer.template`` wants; the same template, the same handle.
    """

    capacity_req_per_s: NDArray[np.float64]
    cost: NDArray[np.float64]
    counts: NDArray[np.int64]
    handles: NDArray[np.int64]


class Allowance(NamedTuple):
    """The most that a template may cost, by what it carries: a step function.

    A template of capacity ``c`` may cost ``cost[i]`` with the least ``i`` such that
    ``c <= capacity_req_per_s[i]``, and the last ``cost`` beyond.

    Attributes
    ----------
    capacity_req_per_s
        Shape (K,), ascending.
    cost
        Shape (K,), not descending.
    """

    capacity_req_per_s: NDArray[np.float64]
    cost: NDArray[np.float64]


class TemplatePricer(Protocol):
    """Finds templates of one model and phase by their price, exactly.

    Attributes
    ----------
    configs
        Node configurations on offer, C of them: the order of all arrays.
    """

    configs: tuple[NodeConfig, ...]

    def staircase(
        self, prices: NDArray[np.float64], room: Room, enough_req_per_s: float
    ) -> PricedTemplates:
        """Return the templates that no other undercuts: capacity and cost both ascend.

        For every capacity up to ``enough_req_per_s`` the cheapest template that fits and carries
        at least as much is among them; the last one may carry more.

        Parameters
        ----------
        prices
            Shape (C,): price of one slice, not negative.
        room
            What a template must fit into.
        enough_req_per_s
            Capacity beyond it is worth nothing.
        """
        ...

    def within(
        self, prices: NDArray[np.float64], room: Room, allowance: Allowance, limit: int
    ) -> PricedTemplates | None:
        """Return all templates that fit and cost no more than allowed; None if over ``limit``.

        A template may be left out only by the rule of ``TemplateSource.templates``.
        """
        ...

    def template(self, handle: int) -> ServingTemplate:
        """Return a template that this pricer has given."""
        ...
