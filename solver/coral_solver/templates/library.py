"""The template library: stage 1 behind the interface that stage 2 reads."""

from __future__ import annotations

import hashlib
import logging
import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.hardware import configs_on_offer
from coral_solver.domain.template import CapacityRule, PlacementSpace
from coral_solver.domain.workload import Phase
from coral_solver.templates.cache import PlacementCache, code_fingerprint
from coral_solver.templates.describe import describe_paper, describe_vllm
from coral_solver.templates.multisets import total_multisets
from coral_solver.templates.partitions import MAX_NODES
from coral_solver.templates.placements import MOST_NODES, NO_NODE, Placements, join_placements
from coral_solver.templates.template_list import PhaseTemplates, TemplateList

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from coral_solver.domain.hardware import NodeConfig
    from coral_solver.domain.plan import PlanningProblem
    from coral_solver.domain.workload import ServedModel
    from coral_solver.templates.library_pricer import LibraryPricer
    from coral_solver.templates.template_list import Describe

_log = logging.getLogger(__name__)

RULE_OF_SPACE = {
    PlacementSpace.PAPER: CapacityRule.PAPER,
    PlacementSpace.VLLM: CapacityRule.OPERATOR,
}

KEPT_IN_MEMORY = 64
"""Libraries (model, SLO, traffic, phase) that stay in memory; the ones used longest ago go."""

MIN_SHARE_OF_BEST = 0.01
"""Templates that carry less than this share of the best capacity per GPU are not on offer.

They sit at the very edge of a latency target: what little they carry is an artefact of the
prediction, not something to pay for.
"""

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def most_listed_nodes(space: PlacementSpace) -> int:
    """Return the most node configurations of a template that a library of a space holds."""
    return MAX_NODES if space is PlacementSpace.PAPER else MOST_NODES


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryOptions:
    """Which templates a library holds, and where it keeps them.

    Attributes
    ----------
    space
        Which placements are searched.
    max_nodes
        Most node configurations of one template, 1 to ``most_listed_nodes(space)``.
    rho
        Two or more node configurations together have at most ``rho`` times the memory of the
        model's weights.
    cache_dir
        Folder for libraries between runs (``cache.default_cache_dir()`` is the user's); None keeps
        them in memory only.

    Raises
    ------
    InvalidInputError
        If a value is out of range.
    """

    space: PlacementSpace = PlacementSpace.VLLM
    max_nodes: int = MAX_NODES
    rho: float = 12.0
    cache_dir: Path | None = None

    def __post_init__(self) -> None:
        problems = []
        most_nodes = most_listed_nodes(self.space)
        if not 1 <= self.max_nodes <= most_nodes:
            problems.append(
                f"max_nodes is {self.max_nodes}: a template library of the {self.space} space "
                f"holds templates of 1 to {most_nodes} node configurations"
            )
        if not (math.isfinite(self.rho) and self.rho >= 1):
            problems.append(f"rho is {self.rho}: it must be a finite number of at least 1")
        if problems:
            raise InvalidInputError(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One library to have: a phase of a model on some configurations.

    ``family`` is a digest of everything but the configurations, ``key`` of everything.
    """

    model: ServedModel
    phase: Phase
    configs: tuple[NodeConfig, ...]
    max_nodes: int
    family: str
    key: str

    def sizes(self) -> list[int]:
        """Return the GPU counts of the configurations, ascending."""
        return sorted({config.gpu_count for config in self.configs})

    def of_size(self, size: int) -> tuple[NodeConfig, ...]:
        """Return the configurations with one GPU count: those that can share a pipeline."""
        return tuple(config for config in self.configs if config.gpu_count == size)


class TemplateLibrary:
    """Gives stage 2 the templates of a model: exact, complete within the options, cached.

    What the templates follow from decides what is shared: demand, priority, headroom, replicas
    and the id of a model do not matter. Not for use by several threads at once; the search itself
    uses all cores.

    Parameters
    ----------
    options
        Which templates, and where to keep them.
    """

    def __init__(self, options: LibraryOptions | None = None) -> None:
        self.options = options or LibraryOptions()
        folder = self.options.cache_dir
        self._disk = PlacementCache(folder) if folder is not None else None
        self._placements: OrderedDict[str, tuple[tuple[NodeConfig, ...], Placements]]
        self._placements = OrderedDict()
        self._lists: OrderedDict[tuple[str, ...], TemplateList] = OrderedDict()
        self._pricers: OrderedDict[tuple[int, Phase, tuple[NodeConfig, ...]], LibraryPricer]
        self._pricers = OrderedDict()

    @property
    def scope(self) -> str:
        """In words: which templates the bounds of a plan made from this library hold for."""
        options = self.options
        stage = (
            "any node configurations in data parallel as a stage"
            if options.space is PlacementSpace.PAPER
            else "one node configuration a stage, the same tensor parallelism on every stage, "
            "decode instances of one stage"
        )
        return (
            f"all templates of the {options.space} placement space under the "
            f"{RULE_OF_SPACE[options.space]} capacity rule ({stage}) with at most "
            f"{options.max_nodes} node configurations and, beyond one, at most {options.rho:g} "
            "times the memory of the weights; the exactly best placement of each multiset of "
            "node configurations; what carries per GPU less than "
            f"{MIN_SHARE_OF_BEST:.0%} of the best of the same model and phase is not counted, "
            "alone or as a part of more nodes"
        )

    def templates(self, model: ServedModel, configs: Sequence[NodeConfig]) -> TemplateList:
        """Return every useful template of a model that can be built from some configurations.

        Parameters
        ----------
        model
            The model; phases and GPU types that it does not allow are left out.
        configs
            Node configurations on offer, in any order.

        Returns
        -------
        TemplateList
            Ordered by phase, in the ``vllm`` space by tensor parallelism, by number of node
            configurations and by the sorted configurations. A multiset of configurations is left
            out where several instances on the same nodes, or fewer, carry at least as much, and
            where it carries per GPU less than ``MIN_SHARE_OF_BEST`` of the best of the phase.

        Raises
        ------
        CatalogError
            If a configuration's GPU type has no data sheet.
        """
        jobs = self._jobs(model, configs)
        key = (model.id, *(job.key for job in jobs))
        found = self._lists.get(key)
        if found is None:
            parts = [
                PhaseTemplates(
                    phase=job.phase,
                    placements=_worth_their_gpus(self._placements_of(job, None), job.configs),
                    describe=self._describe(job),
                )
                for job in jobs
            ]
            found = TemplateList(model.id, model.targets_digest, jobs[0].configs, parts)
        _remember(self._lists, key, found)
        return found

    def pricer(
        self, model: ServedModel, phase: Phase, configs: Sequence[NodeConfig]
    ) -> LibraryPricer | None:
        """Return what finds the templates of one phase of a model by their price.

        Parameters
        ----------
        model, phase
            What is served.
        configs
            Node configurations on offer: the order of the pricer's arrays.

        Returns
        -------
        LibraryPricer or None
            Over what ``templates`` returns; None where that has nothing for the phase. The same
            object as long as the templates are in memory.

        Raises
        ------
        CatalogError
            If a configuration's GPU type has no data sheet.
        """
        # Imported here: looking at templates needs no compiler.
        from coral_solver.templates.library_pricer import library_pricer

        templates = self.templates(model, configs)
        key = (id(templates), phase, tuple(configs))
        # The pricer holds its templates: as long as it is remembered, no others get their id.
        found = self._pricers.get(key) or library_pricer(templates, phase, configs)
        if found is not None:
            _remember(self._pricers, key, found)
        return found

    def prepare(
        self,
        problem: PlanningProblem,
        progress: Callable[[int, int], None] | None = None,
        *,
        whole_nodes_only: bool | None = None,
    ) -> None:
        """Load or build the templates of every model of a problem that wants any.

        Parameters
        ----------
        problem
            Models and pools.
        progress
            Called with (multisets of node configurations done, all of them), from this thread.
        whole_nodes_only
            As in the options of the plan that follows; if None as its space has it.
        """
        if whole_nodes_only is None:
            whole_nodes_only = self.options.space is PlacementSpace.PAPER
        configs = configs_on_offer(problem.pools, whole_nodes_only=whole_nodes_only)
        jobs: dict[str, _Job] = {}
        for model in problem.models:
            if model.demand_req_per_s > 0 or model.min_replicas > 0:
                jobs |= {job.key: job for job in self._jobs(model, configs)}
        sizes = {key: self._num_multisets(job) for key, job in jobs.items()}
        total, finished = sum(sizes.values()), 0
        for key, job in jobs.items():
            state = [finished]

            def advance(multisets: int, state: list[int] = state) -> None:
                state[0] += multisets
                if progress is not None:
                    progress(min(state[0], total), total)

            self._placements_of(job, advance)
            finished += sizes[key]
            if progress is not None and state[0] != finished:
                progress(finished, total)

    def _jobs(self, model: ServedModel, configs: Sequence[NodeConfig]) -> list[_Job]:
        usable = tuple(sorted({config for config in configs if model.may_use(config.gpu)}))
        options = self.options
        jobs = []
        for phase in model.serving.phases:
            # vLLM's consumers of a KV transfer cannot be pipelines.
            one_stage = options.space is PlacementSpace.VLLM and phase is Phase.DECODE
            facts = (
                code_fingerprint(),
                options.space.value,
                options.max_nodes,
                options.rho,
                phase.value,
                model.arch,
                model.precision.value,
                model.slo,
                model.workload,
                model.max_model_len_tokens,
                model.measured,
                model.robustness,
            )
            jobs.append(
                _Job(
                    model=model,
                    phase=phase,
                    configs=usable,
                    max_nodes=1 if one_stage else options.max_nodes,
                    family=_digest(facts),
                    key=_digest((facts, usable)),
                )
            )
        return jobs

    def _num_multisets(self, job: _Job) -> int:
        if self.options.space is PlacementSpace.PAPER:
            return total_multisets(len(job.configs), job.max_nodes)
        return sum(total_multisets(len(job.of_size(t)), job.max_nodes) for t in job.sizes())

    def _placements_of(self, job: _Job, advance: Callable[[int], None] | None) -> Placements:
        """Return placements over ``job.configs`` from memory, from disk, or from a search."""
        configs, placements = self._placements.get(job.family, ((), None))
        if placements is not None and configs == job.configs:
            _remember(self._placements, job.family, (configs, placements))
            return placements
        if (
            placements is not None
            and self.options.space is PlacementSpace.PAPER
            and set(job.configs) <= set(configs)
        ):
            # The rates of a configuration do not depend on what else is on offer (in the vllm
            # space they may), so that losing a pool asks for no new search.
            new_index = [
                job.configs.index(config) if config in job.configs else NO_NODE
                for config in configs
            ]
            return placements.renumbered(np.array(new_index, dtype=np.uint8))

        layers = job.model.arch.layers
        found = None
        if self._disk is not None:
            found = self._disk.read(job.key, num_configs=len(job.configs), num_layers=layers)
        if found is None:
            found = self._search(job, advance)
            _log.info("%d templates for %s %s", len(found), job.model.arch.name, job.phase.value)
            if self._disk is not None:
                self._disk.write(job.key, found)
        _remember(self._placements, job.family, (job.configs, found))
        return found

    def _search(self, job: _Job, advance: Callable[[int], None] | None) -> Placements:
        # Imported here: a warm start then needs no compiler.
        from coral_solver.performance.capacity import (
            joint_capacity_above,
            joint_tables,
            separable_tables,
        )
        from coral_solver.templates.search import (
            SearchLimits,
            search_paper_space,
            search_vllm_space,
        )

        limits = SearchLimits(max_nodes=job.max_nodes, rho=self.options.rho)
        if self.options.space is PlacementSpace.PAPER:
            tables = separable_tables(job.model, job.phase, job.configs, job.max_nodes)
            return search_paper_space(tables, limits, advance=advance)
        parts = []
        for size in job.sizes():
            found = search_vllm_space(
                joint_tables(job.model, job.phase, job.of_size(size), job.max_nodes),
                job.model.arch.layers,
                joint_capacity_above,
                limits,
                advance=advance,
            )
            new_index = [job.configs.index(config) for config in job.of_size(size)]
            parts.append(found.renumbered(np.array(new_index, dtype=np.uint8)))
        return join_placements(parts)

    def _describe(self, job: _Job) -> Describe:
        if self.options.space is PlacementSpace.PAPER:
            return describe_paper(job.model)
        return describe_vllm(job.model, job.phase, job.configs, job.max_nodes)


def _worth_their_gpus(placements: Placements, configs: Sequence[NodeConfig]) -> Placements:
    """Return the placements whose capacity per GPU is a fair share of the best one's."""
    sizes = np.zeros(NO_NODE + 1)
    sizes[: len(configs)] = [config.gpu_count for config in configs]
    per_gpu = placements.capacity_req_per_s / sizes[placements.nodes].sum(axis=1)
    kept = per_gpu >= MIN_SHARE_OF_BEST * per_gpu.max(initial=0.0)
    return placements if kept.all() else placements.select(kept)


def _digest(facts: object) -> str:
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _remember(memory: OrderedDict[_Key, _Value], key: _Key, value: _Value) -> None:
    memory[key] = value
    memory.move_to_end(key)
    while len(memory) > KEPT_IN_MEMORY:
        memory.popitem(last=False)
