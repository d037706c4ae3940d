"""The one way from a planning problem to a checked plan; operator, CLI and simulator share it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from coral_solver.allocation.allocate import AllocationOptions, allocate
from coral_solver.baselines.run import run_baselines
from coral_solver.domain.clock import WallClock
from coral_solver.domain.plan import with_measurements
from coral_solver.domain.template import PlacementSpace
from coral_solver.domain.validate import validate_problem
from coral_solver.planning.measured import without_unusable_points
from coral_solver.templates.catalogue import CatalogueOptions, TemplateCatalogue, TemplateMethod

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from coral_solver.domain.clock import Clock
    from coral_solver.domain.plan import AllocationPlan, PlanningProblem

    Progress = Callable[[str, float | None], None]
    """Takes the name of a step, and the share of it that is done, or None."""


EXTRA_BASELINES_S = 1.0
"""Time that the baselines together get beyond what stage 2 of the plan took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanningOptions:
    """How to plan.

    Attributes
    ----------
    space
        Placements that stage 1 searches. The operator's is ``VLLM``.
    max_nodes
        Most node configurations of one template (``N_max``).
    rho
        A template's GPU memory is at most ``rho`` times the model's weights, except on one node
        configuration.
    time_limit_s
        Limit of stage 2 for the plan. The baselines together get what that took plus
        ``EXTRA_BASELINES_S``, and never more than the limit.
    relative_gap
        A level of the objective counts as proven at this gap.
    cache_dir
        Where template libraries are kept between runs; None keeps them in memory only.
    with_baselines
        Solve the peers too, for the same input.
    method
        How templates are found. Peers know the listed ones only: at most 6 node configurations in
        the ``paper`` space.
    with_margin_cost
        Where the policy asks for a margin, plan without it too: what the margin costs.
    """

    space: PlacementSpace = PlacementSpace.VLLM
    max_nodes: int = 6
    rho: float = 12.0
    time_limit_s: float = 30.0
    relative_gap: float = 1e-4
    cache_dir: Path | None = None
    with_baselines: bool = True
    method: TemplateMethod = TemplateMethod.AUTO
    with_margin_cost: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanningResult:
    """A plan that passed the checker, and what it is compared with.

    Attributes
    ----------
    plan
        The joint decision.
    baselines
        Plans of the peers by name, for the same problem and through the same checker.
    without_margin
        The plan for ``robustness`` 0 where the policy asks for more; None where it does not, or
        where nobody wants to know.
    unused_points
        Why some measured points could not be used, in words.
    templates_s, allocation_s, baselines_s
        Time of stage 1, of stage 2 and of the peers.
    """

    plan: AllocationPlan
    baselines: Mapping[str, AllocationPlan] = field(default_factory=dict)
    without_margin: AllocationPlan | None = None
    unused_points: tuple[str, ...] = ()
    templates_s: float = 0.0
    allocation_s: float = 0.0
    baselines_s: float = 0.0


class Planner:
    """Plans problem after problem; keeps its template library between them.

    Parameters
    ----------
    options
        How to plan.
    clock
        For the solve times and the time limits.
    """

    def __init__(
        self, options: PlanningOptions | None = None, *, clock: Clock | None = None
    ) -> None:
        self.options = options or PlanningOptions()
        self._clock = clock or WallClock()
        self._templates = TemplateCatalogue(
            CatalogueOptions(
                space=self.options.space,
                max_nodes=self.options.max_nodes,
                rho=self.options.rho,
                cache_dir=self.options.cache_dir,
                method=self.options.method,
            )
        )

    def plan(self, problem: PlanningProblem, *, progress: Progress | None = None) -> PlanningResult:
        """Decide what runs where.

        Parameters
        ----------
        problem
            Models, pools, policy, and the instances in force.
        progress
            Called with the name of a step when it begins, and with the share of it that is done
            where that is known.

        Returns
        -------
        PlanningResult
            There is always a plan: what cannot be served is stated in its outcomes.

        Raises
        ------
        InvalidInputError
            If a number or an id of the problem cannot mean anything.
        PlanCheckError
            If the checker rejects the plan: a bug, and the plan must not be used.
        """
        validate_problem(problem)
        problem, unused_points = without_unusable_points(problem)
        problem = with_measurements(problem)
        report = progress or (lambda _step, _share: None)
        start_s = self._clock.monotonic_s()
        self._templates.prepare(
            problem, lambda done, total: report("stage 1: templates", done / total)
        )
        templates_done_s = self._clock.monotonic_s()

        report("stage 2: allocation", None)
        allocation_options = AllocationOptions(
            time_limit_s=self.options.time_limit_s,
            relative_gap=self.options.relative_gap,
            whole_nodes_only=self.options.space is PlacementSpace.PAPER,
            sum_regions=self.options.space is PlacementSpace.PAPER,
        )
        plan = allocate(problem, self._templates, options=allocation_options, clock=self._clock)
        allocation_done_s = self._clock.monotonic_s()

        baselines: dict[str, AllocationPlan] = {}
        if self.options.with_baselines:
            report("baselines: what the peers would do", None)
            # They are for comparison: nobody is to wait much longer for them than for the plan.
            limit_s = allocation_done_s - templates_done_s + EXTRA_BASELINES_S
            baselines = run_baselines(
                problem,
                self._templates,
                options=replace(
                    allocation_options, time_limit_s=min(limit_s, self.options.time_limit_s)
                ),
                clock=self._clock,
            )
        baselines_done_s = self._clock.monotonic_s()

        without_margin = None
        if self.options.with_margin_cost and problem.policy.robustness > 0:
            report("without the margin: what it costs", None)
            without_margin = self._without_margin(problem, allocation_options)
        return PlanningResult(
            plan=plan,
            baselines=baselines,
            without_margin=without_margin,
            unused_points=unused_points,
            templates_s=templates_done_s - start_s,
            allocation_s=allocation_done_s - templates_done_s,
            baselines_s=baselines_done_s - allocation_done_s,
        )

    def _without_margin(
        self, problem: PlanningProblem, options: AllocationOptions
    ) -> AllocationPlan:
        policy = replace(problem.policy, robustness=0.0)
        plain = with_measurements(replace(problem, policy=policy))
        self._templates.prepare(plain)
        return allocate(plain, self._templates, options=options, clock=self._clock)
