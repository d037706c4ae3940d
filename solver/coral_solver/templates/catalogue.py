"""All templates of a space: out of a library, or priced without one where that is cheaper."""

from __future__ import annotations

import math
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.hardware import configs_on_offer
from coral_solver.domain.processors import num_threads
from coral_solver.domain.template import PlacementSpace, ServingTemplate
from coral_solver.templates.describe import describe_paper
from coral_solver.templates.library import (
    MIN_SHARE_OF_BEST,
    LibraryOptions,
    TemplateLibrary,
    most_listed_nodes,
)
from coral_solver.templates.multisets import total_multisets
from coral_solver.templates.partitions import MAX_NODES
from coral_solver.templates.placements import MOST_NODES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from coral_solver.domain.hardware import NodeConfig
    from coral_solver.domain.plan import PlanningProblem
    from coral_solver.domain.template import StagePlacement
    from coral_solver.domain.workload import Phase, ServedModel
    from coral_solver.templates.dynamic_pricer import DynamicPricer
    from coral_solver.templates.library_pricer import LibraryPricer
    from coral_solver.templates.template_list import TemplateList

MOST_LISTED = 1_000_000
"""Multisets of one model and phase beyond which no library is built: some ten seconds."""

MOST_LISTED_IN_ALL = 3_000_000
"""Multisets of all models and phases beyond which no library is built: half a minute."""

KEPT_PRICERS = 256
"""Pricers without a library that are kept in memory, megabytes each; more if a problem has more."""


class TemplateMethod(StrEnum):
    """Where templates come from."""

    AUTO = "auto"
    """The library where it is loaded or made within seconds, prices otherwise."""

    LIBRARY = "library"
    """The library: the search lists every template once; questions take no time then."""

    PRICING = "pricing"
    """No library: every question is a search of its own. ``paper`` space only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueOptions:
    """Which templates there are, and how they are found.

    Attributes
    ----------
    space
        Which placements are searched.
    max_nodes
        Most node configurations of one template, 1 to ``MOST_NODES``.
    rho
        Two or more node configurations together have at most ``rho`` times the memory of the
        model's weights.
    cache_dir
        Folder for libraries between runs; None keeps them in memory only.
    method
        How templates are found.

    Raises
    ------
    InvalidInputError
        If a value is out of range.
    """

    space: PlacementSpace = PlacementSpace.VLLM
    max_nodes: int = MAX_NODES
    rho: float = 12.0
    cache_dir: Path | None = None
    method: TemplateMethod = TemplateMethod.AUTO

    def __post_init__(self) -> None:
        problems = []
        listed = most_listed_nodes(self.space)
        if not 1 <= self.max_nodes <= MOST_NODES:
            problems.append(
                f"max_nodes is {self.max_nodes}: templates have 1 to {MOST_NODES} node "
                "configurations"
            )
        elif self.max_nodes > listed and self.method is TemplateMethod.LIBRARY:
            problems.append(
                f"max_nodes is {self.max_nodes}: a library of the {self.space} space holds "
                f"templates of 1 to {listed} node configurations; use the method "
                f"{TemplateMethod.AUTO} or {TemplateMethod.PRICING}"
            )
        if not (math.isfinite(self.rho) and self.rho >= 1):
            problems.append(f"rho is {self.rho}: it must be a finite number of at least 1")
        if self.method is TemplateMethod.PRICING and self.space is not PlacementSpace.PAPER:
            problems.append(
                f"method is {self.method}: templates of the {self.space} space come from a library"
            )
        if problems:
            raise InvalidInputError(problems)


class TemplateCatalogue:
    """Gives stage 2 the templates of a model, listed or by their price.

    Not for use by several threads at once.

    Parameters
    ----------
    options
        Which templates, and how they are found.
    """

    def __init__(self, options: CatalogueOptions | None = None) -> None:
        self.options = options or CatalogueOptions()
        self._library = TemplateLibrary(
            LibraryOptions(
                space=self.options.space,
                max_nodes=min(self.options.max_nodes, most_listed_nodes(self.options.space)),
                rho=self.options.rho,
                cache_dir=self.options.cache_dir,
            )
        )
        self._pricers: OrderedDict[tuple[object, ...], DynamicPricer] = OrderedDict()
        self._most_pricers = KEPT_PRICERS
        self._has_many = False

    @property
    def scope(self) -> str:
        """In words: which templates the bounds of a plan made from this source hold for."""
        listed = self._library.options.max_nodes
        return self._library.scope.replace(
            f"at most {listed} node configurations",
            f"at most {self.options.max_nodes} node configurations",
        )

    def templates(self, model: ServedModel, configs: Sequence[NodeConfig]) -> TemplateList:
        """Return the templates of a model as ``TemplateLibrary.templates`` does.

        Those with more nodes than a library holds are not among them.
        """
        return self._library.templates(model, configs)

    def pricer(
        self, model: ServedModel, phase: Phase, configs: Sequence[NodeConfig]
    ) -> LibraryPricer | DynamicPricer | None:
        """Return what finds the templates of one phase of a model by their price.

        Parameters
        ----------
        model, phase
            What is served.
        configs
            Node configurations on offer: the order of the pricer's arrays.

        Returns
        -------
        LibraryPricer, DynamicPricer or None
            None where there is no template.

        Raises
        ------
        CatalogError
            If a configuration's GPU type has no data sheet.
        """
        if self.is_listed(model, configs):
            return self._library.pricer(model, phase, configs)
        key = _key(model, phase, configs)
        found = self._pricers.get(key) or self._dynamic_pricer(model, phase, configs)
        self._remember(key, found)
        return found if found.has_templates else None

    def prepare(
        self,
        problem: PlanningProblem,
        progress: Callable[[int, int], None] | None = None,
        *,
        whole_nodes_only: bool | None = None,
    ) -> None:
        """Load or build the libraries that a problem needs, or what is needed instead of them.

        Parameters as of ``TemplateLibrary.prepare``. A problem that takes too many multisets in
        all has no libraries from now on, until the next one is prepared.
        """
        if whole_nodes_only is None:
            whole_nodes_only = self.options.space is PlacementSpace.PAPER
        configs = configs_on_offer(problem.pools, whole_nodes_only=whole_nodes_only)
        jobs = [
            (model, phase)
            for model in problem.models
            if model.demand_req_per_s > 0 or model.min_replicas > 0
            for phase in model.serving.phases
        ]
        multisets = sum(self._num_multisets(model, configs) for model, _ in jobs)
        self._has_many = multisets > MOST_LISTED_IN_ALL
        listed = tuple(model for model in problem.models if self.is_listed(model, configs))
        self._library.prepare(
            replace(problem, models=listed), progress, whole_nodes_only=whole_nodes_only
        )
        # Models without a demand may be asked for too.
        phases = sum(len(model.serving.phases) for model in problem.models)
        self._most_pricers = max(KEPT_PRICERS, phases)
        searched = []
        for model, phase in jobs:
            key = _key(model, phase, configs)
            if key in self._pricers:
                self._pricers.move_to_end(key)
            elif not self.is_listed(model, configs):
                searched.append((model, phase))
        if searched:
            with ThreadPoolExecutor(num_threads()) as threads:
                found = threads.map(
                    lambda job: self._dynamic_pricer(job[0], job[1], configs), searched
                )
                for (model, phase), pricer in zip(searched, found, strict=True):
                    self._remember(_key(model, phase, configs), pricer)

    def is_listed(self, model: ServedModel, configs: Sequence[NodeConfig]) -> bool:
        """Return whether the templates of a model come from a library."""
        options = self.options
        if options.method is not TemplateMethod.AUTO:
            return options.method is TemplateMethod.LIBRARY
        if options.space is not PlacementSpace.PAPER:
            return True
        if options.max_nodes > most_listed_nodes(options.space):
            return False
        return not self._has_many and self._num_multisets(model, configs) <= MOST_LISTED

    def _num_multisets(self, model: ServedModel, configs: Sequence[NodeConfig]) -> int:
        usable = sum(model.may_use(config.gpu) for config in configs)
        return total_multisets(usable, self.options.max_nodes)

    def _remember(self, key: tuple[object, ...], pricer: DynamicPricer) -> None:
        self._pricers[key] = pricer
        self._pricers.move_to_end(key)
        while len(self._pricers) > self._most_pricers:
            self._pricers.popitem(last=False)

    def _dynamic_pricer(
        self, model: ServedModel, phase: Phase, configs: Sequence[NodeConfig]
    ) -> DynamicPricer:
        # Imported here: with a library at hand no compiler is needed.
        from coral_solver.performance.capacity import separable_tables
        from coral_solver.templates.dynamic_pricer import DynamicPricer, PricingLimits

        describe = describe_paper(model)

        def build(stages: tuple[StagePlacement, ...], capacity_req_per_s: float) -> ServingTemplate:
            prediction, engine = describe(stages, capacity_req_per_s, 0)
            return ServingTemplate(
                model_id=model.id,
                phase=phase,
                stages=stages,
                prediction=prediction,
                made_for=model.targets_digest,
                engine=engine,
            )

        usable = tuple(config for config in configs if model.may_use(config.gpu))
        return DynamicPricer(
            configs,
            separable_tables(model, phase, usable, self.options.max_nodes),
            PricingLimits(
                max_nodes=self.options.max_nodes,
                rho=self.options.rho,
                min_share=MIN_SHARE_OF_BEST,
            ),
            build,
        )


def _key(model: ServedModel, phase: Phase, configs: Sequence[NodeConfig]) -> tuple[object, ...]:
    return model.id, model.targets_digest, phase, tuple(configs)
