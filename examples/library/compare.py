"""Plan the same models under two policies, compare the plans, and keep one as JSON."""

import json
from dataclasses import replace

from coral_solver import (
    InventoryRow,
    LengthDistribution,
    PlanFacts,
    Planner,
    PlanningOptions,
    PlanningProblem,
    Policy,
    ScarcityPolicy,
    ServedModel,
    Slo,
    Workload,
    compare_plans,
    inventory_pools,
    model_arch,
    plan_document,
)


def main() -> None:
    """Plan a cluster that is too small for two models, fairly and by priority."""
    arch = model_arch("phi-4")
    model = ServedModel(
        id="interactive",
        arch=arch,
        precision=arch.native_precision,
        slo=Slo(ttft_s=1.2, tpot_s=0.06),
        workload=Workload(
            input_tokens=LengthDistribution.from_mean(1100),
            output_tokens=LengthDistribution.from_mean(200),
        ),
        demand_req_per_s=20,
        priority=10,
    )
    batch = replace(model, id="batch", priority=0)
    pools = inventory_pools(
        [
            InventoryRow(
                gpu="H100",
                gpus_per_node=2,
                nodes=1,
                region="here",
                where="row 1",
                node_usd_per_hour=12.0,
            )
        ]
    )
    problem = PlanningProblem(models=(batch, model), pools=pools)
    planner = Planner(PlanningOptions(with_baselines=False))

    fair = planner.plan(problem)
    ranked_problem = replace(problem, policy=Policy(scarcity=ScarcityPolicy.PRIORITY))
    ranked = planner.plan(ranked_problem)

    comparison = compare_plans(PlanFacts.of(fair.plan), PlanFacts.of(ranked.plan))
    for change in comparison.models:
        print(
            f"{change.model}: {fair.plan.unmet_req_per_s[change.model]:.2f} req/s unmet if fair, "
            f"{ranked.plan.unmet_req_per_s[change.model]:.2f} by priority"
        )
    document = plan_document(ranked_problem, ranked)
    print(f"{len(json.dumps(document))} characters of JSON, as `coral plan -o json` writes them")


if __name__ == "__main__":
    main()
