"""Random planning problems made from real prices, real node lists and real spot traces.

    python -m benchmarks.instances --seeds 0-19        # what is in them

The published sets are the seeds 0, 1, 2, ... in that order. The generator and the seeds were fixed
before the first solve and have not been changed since to suit a result; its constants were set by
looking at how many GPUs the instances of seeds from 9000 on have.

What an instance is:

* **Prices.** The 20 node configurations (H100, A100-80GB, L40S, L4 and A10G, 1, 2, 4 and 8 GPUs a
  node) and three regions of the paper's extended setup. Even seeds take the paper's Table 1, which
  sells every configuration everywhere; odd seeds take list prices, where 32 of the 60 cells are
  sold, and spot prices beside them where the list has one.
* **Models.** The extended setup's six, each replaced with probability 1/3 by another of the
  catalogue, which takes the latency targets and the traffic of the setup's model that is nearest
  in size. Disaggregated; demands log-uniform from 1 to 50 req/s.
* **GPUs.** How many: what the demand needs, by a count of its floating point operations, times a
  factor that is log-uniform from 3 (far too few) to 60 (abundant). Of which type: the mix of
  Alibaba's node list (`catalog.inventory("alibaba-spot-gpu-2026")`), where the share of its one
  inference GPU, the A10, is shared by A10G, L4 and L40S; half of them in nodes of the size that the
  list has, the rest in the other sizes. Region by region and cell by cell a uniform random factor
  shifts the mix. Spot pools, and on Table 1 half of all pools, have the share of those nodes that a
  spot market had on offer at a random moment of SkyPilot's traces (`data/spot_availability.csv`).

Only ``random.Random.random`` is drawn from, which Python keeps the same over versions and
platforms; nothing depends on the performance model or on a solver, except the plan in force of
``switching``, which the greedy rule makes from single nodes.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

from benchmarks.instance_gpus import (
    SUPPLY_FACTOR,
    half_elastic,
    log_uniform,
    random_pools,
    with_others_on_them,
)

from coral_solver.allocation.allocate import AllocationOptions, allocate_greedily
from coral_solver.catalog import (
    PriceSheet,
    model_arch,
    model_archs,
    paper_setup,
)
from coral_solver.domain.plan import PlanningProblem
from coral_solver.domain.template import PlacementSpace
from coral_solver.domain.workload import ServingMode
from coral_solver.templates.catalogue import CatalogueOptions, TemplateCatalogue

if TYPE_CHECKING:
    from coral_solver.domain.plan import ServingInstance
    from coral_solver.domain.workload import ModelArch, ServedModel

RHO_OFF = 1e6
"""A cap on a template's memory, in weights of its model, that no template reaches."""

PAPER_MODELS = (
    "gpt-oss-120b",
    "gpt-oss-20b",
    "llama-3-70b",
    "phi-4-14b",
    "qwen3-235b-a22b",
    "qwen3-32b",
)
NEAREST_PAPER_MODEL = {
    "llama-2-70b": "llama-3-70b",
    "llama-2-7b": "phi-4-14b",
    "llama-3.1-8b": "phi-4-14b",
    "llama-30b": "qwen3-32b",
    "mixtral-8x7b": "qwen3-32b",
    "qwen2-72b": "llama-3-70b",
}
REPLACED_SHARE = 1 / 3
DEMAND_REQ_PER_S = (1.0, 50.0)

L4_FLOPS_PER_S = 121e12 * 0.6
"""What an L4 would do at 60 % of its dense bf16 peak (data sheet: 121 TFLOP/s): a unit to count in,
not a prediction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What an instance has beyond prices, demands and GPUs.

    Attributes
    ----------
    rho
        Cap on a template's memory in weights of its model; None: no cap.
    switching
        Another plan is in force: for demands that were 0.5 to 1.5 times as large.
    slices
        Templates may take a part of a node, and nodes are partly taken already.
    mixed
        Aggregated and disaggregated templates may serve one model together (``serving: Auto``).
    regional
        Prefill and decode are paired region by region instead of over all regions.
    elastic
        Half of the pools can open nodes; whole nodes are paid there. Needs ``slices`` to matter.
    vllm
        The placement space that stock vLLM runs, with the rules of the operator: slices, regional
        pairing, capacities with queueing.
    demand_scale
        Factor on every demand; the GPUs grow with it.
    """

    rho: float | None = 12.0
    switching: bool = False
    slices: bool = False
    mixed: bool = False
    regional: bool = False
    elastic: bool = False
    vllm: bool = False
    demand_scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceOptions:
    """How an instance is to be solved.

    Attributes
    ----------
    library
        Space, ``N_max`` and ``rho`` of the templates.
    allocation
        Rules of stage 2; its time limit is the caller's to set.
    """

    library: CatalogueOptions
    allocation: AllocationOptions


FEATURE_SETS: dict[str, Features] = {
    "plain": Features(rho=None),
    "rho": Features(),
    "switching": Features(switching=True),
    "slices": Features(slices=True),
    "mixed": Features(mixed=True),
    "regional": Features(regional=True),
    "elastic": Features(slices=True, elastic=True),
    "vllm": Features(vllm=True),
    "vllm-all": Features(vllm=True, switching=True, mixed=True, elastic=True),
    "all": Features(switching=True, slices=True, mixed=True, regional=True, elastic=True),
    "demand-x4": Features(rho=None, demand_scale=4.0),
}
"""Sets of instances that are published; each is the seeds 0, 1, 2, ... with these features."""


def instance(
    seed: int, features: Features = FEATURE_SETS["rho"], *, max_nodes: int = 6
) -> tuple[PlanningProblem, InstanceOptions]:
    """Make an instance.

    Parameters
    ----------
    seed
        Which. The same seed with other features has the same prices, models, demands and GPUs.
    features
        What it has beyond those.
    max_nodes
        Most node configurations of one template.
    """
    sheet = (PriceSheet.TABLE_1, PriceSheet.LIST)[seed % 2]
    models = _models(_random(seed, "models"), features)
    pools = random_pools(_random(seed, "pools"), sheet, needed_l4s(models))
    if features.slices or features.vllm:
        pools = with_others_on_them(_random(seed, "slices"), pools)
    if features.elastic:
        pools = half_elastic(_random(seed, "elastic"), pools)
    options = InstanceOptions(
        library=CatalogueOptions(
            space=PlacementSpace.VLLM if features.vllm else PlacementSpace.PAPER,
            max_nodes=max_nodes,
            rho=RHO_OFF if features.rho is None else features.rho,
        ),
        allocation=AllocationOptions(
            whole_nodes_only=not (features.slices or features.vllm),
            sum_regions=not (features.regional or features.vllm),
        ),
    )
    problem = PlanningProblem(models=models, pools=pools)
    if features.switching:
        problem = replace(problem, in_force=_in_force(seed, problem, options))
    return problem, options


def supply_factor(seed: int) -> float:
    """Return how many times over the instance has the GPUs that its demand needs, roughly."""
    return log_uniform(_random(seed, "pools"), SUPPLY_FACTOR)


def _random(seed: int, part: str) -> Random:
    """Return a generator of its own for each part, so that no switch shifts another's draws."""
    return Random(f"coral instance {seed} {part}")  # noqa: S311 - not for secrets


def _pick(rng: Random, items: tuple[str, ...]) -> str:
    return items[int(rng.random() * len(items))]


# --- Models -----------------------------------------------------------------------------------


def _models(rng: Random, features: Features) -> tuple[ServedModel, ...]:
    targets = {model.arch.name: model for model in paper_setup("extended").models}
    others = [arch.name for arch in model_archs() if arch.name in NEAREST_PAPER_MODEL]
    models = []
    for name in PAPER_MODELS:
        replaced = rng.random() < REPLACED_SHARE
        other = _pick(rng, tuple(others))
        demand = log_uniform(rng, DEMAND_REQ_PER_S)
        if replaced:
            others.remove(other)
            name = other
        arch = model_arch(name)
        like = targets[NEAREST_PAPER_MODEL.get(name, name)]
        models.append(
            replace(
                like,
                id=f"random/{name}",
                arch=arch,
                precision=arch.native_precision,
                demand_req_per_s=round(round(demand, 1) * features.demand_scale, 1),
                serving=_serving(features),
            )
        )
    return tuple(sorted(models, key=lambda model: model.id))


def _serving(features: Features) -> ServingMode:
    if features.mixed:
        return ServingMode.AUTO
    return ServingMode.AGGREGATED if features.vllm else ServingMode.DISAGGREGATED


def active_parameters(arch: ModelArch) -> float:
    """Return the weights that one token passes, embeddings and head left out."""
    heads = 2 * arch.attention_heads + 2 * arch.kv_heads
    attention = arch.hidden_size * arch.head_dim * heads
    width = (
        arch.experts_per_token * arch.moe_intermediate_size
        if arch.experts
        else arch.intermediate_size
    )
    return float(arch.layers * (attention + 3 * arch.hidden_size * width))


def needed_l4s(models: tuple[ServedModel, ...]) -> float:
    """Return how many L4 would do all floating point operations of the demand."""
    flops_per_s = sum(
        model.demand_req_per_s
        * 2
        * active_parameters(model.arch)
        * (model.workload.input_tokens.mean_tokens + model.workload.output_tokens.mean_tokens)
        for model in models
    )
    return flops_per_s / L4_FLOPS_PER_S


# --- What runs already ------------------------------------------------------------------------


def _in_force(
    seed: int, problem: PlanningProblem, options: InstanceOptions
) -> tuple[ServingInstance, ...]:
    """Return what the greedy rule runs on single nodes for demands of some time ago."""
    rng = _random(seed, "in force")
    before = tuple(
        replace(model, demand_req_per_s=round(model.demand_req_per_s * (0.5 + rng.random()), 1))
        for model in problem.models
    )
    plan = allocate_greedily(
        replace(problem, models=before),
        TemplateCatalogue(replace(options.library, max_nodes=1)),
        capped=True,
        worst_off_first=True,
        options=options.allocation,
    )
    return plan.instances


def main() -> None:
    """Print what instances are made of."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0-19", help="first-last")
    parser.add_argument("--features", default="rho", choices=list(FEATURE_SETS))
    arguments = parser.parse_args()
    first, _, last = arguments.seeds.partition("-")
    print("seed sheet    factor  pools  nodes   GPUs  req/s  in force  models")
    for seed in range(int(first), int(last or first) + 1):
        problem, _ = instance(seed, FEATURE_SETS[arguments.features])
        sheet = "list" if seed % 2 else "table-1"
        nodes = sum(max(len(pool.nodes), pool.max_nodes) for pool in problem.pools)
        gpus = sum(
            max(len(pool.nodes), pool.max_nodes) * pool.key.gpus_per_node for pool in problem.pools
        )
        demand = sum(model.demand_req_per_s for model in problem.models)
        names = " ".join(model.arch.name for model in problem.models)
        print(
            f"{seed:4} {sheet:8} {supply_factor(seed):6.2f} {len(problem.pools):6} {nodes:6} "
            f"{gpus:6} {demand:6.1f} {len(problem.in_force):9}  {names}"
        )


if __name__ == "__main__":
    main()
