"""Where the templates of stage 2 come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from coral_solver.domain.hardware import NodeConfig
    from coral_solver.domain.pricing import Allowance, PricedTemplates, Room
    from coral_solver.domain.template import ServingTemplate
    from coral_solver.domain.workload import Phase, ServedModel


class TemplateSource(Protocol):
    """Gives stage 2 its templates, all in a list."""

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


class TemplatePricer(Protocol):
    """Finds templates of one model and phase by their price.

    Exactly, or with costs that are lower bounds where a search is given up; if it knows too little
    even for that, with a ``SolverError``.

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


@runtime_checkable
class SearchingPricer(TemplatePricer, Protocol):
    """A template pricer that searches anew for every question: each one takes its time."""

    def staircases(
        self,
        prices: NDArray[np.float64],
        rooms: Sequence[Room],
        enough_req_per_s: float,
        *,
        known_only: bool = False,
    ) -> list[PricedTemplates]:
        """Return the templates of each room that no others undercut, one or several together.

        What copies of others replace at no higher cost, of this room or another, may be left out.

        Parameters
        ----------
        prices
            Shape (rooms, C): price of one slice in each room, not negative.
        rooms
            What a template must fit into.
        enough_req_per_s
            Capacity beyond it is worth nothing.
        known_only
            Look at the templates only that were found earlier: no search, and no proof.
        """
        ...


@runtime_checkable
class PricedSource(Protocol):
    """A template source that finds templates by their price itself, without a list of all."""

    @property
    def scope(self) -> str:
        """In words: which templates the bounds of a plan made from this source hold for."""
        ...

    def pricer(
        self, model: ServedModel, phase: Phase, configs: Sequence[NodeConfig]
    ) -> TemplatePricer | None:
        """Return what finds the templates of one phase of a model by their price.

        None where there is no template. The pricer's ``configs`` are those given here.
        """
        ...
