"""Ask what a plan would become: a lower price, twice the demand, and why it is as it is."""

from coral_solver import (
    Amount,
    DemandChange,
    How,
    InventoryRow,
    LengthDistribution,
    Planner,
    PlanningOptions,
    PlanningProblem,
    PoolSelector,
    PriceChange,
    ServedModel,
    Slo,
    Workload,
    explain,
    inventory_pools,
    model_arch,
    what_if,
)


def main() -> None:
    """Plan three times with one planner, which keeps its templates, and print."""
    arch = model_arch("phi-4")
    model = ServedModel(
        id="phi-4",
        arch=arch,
        precision=arch.native_precision,
        slo=Slo(ttft_s=1.2, tpot_s=0.06),
        workload=Workload(
            input_tokens=LengthDistribution.from_mean(1100),
            output_tokens=LengthDistribution.from_mean(200),
        ),
        demand_req_per_s=5,
    )
    pools = inventory_pools(
        [
            InventoryRow(gpu="H100", gpus_per_node=8, nodes=1, region="us-east-2", where="row 1"),
            InventoryRow(gpu="L40S", gpus_per_node=4, nodes=2, region="us-east-2", where="row 2"),
        ]
    )
    problem = PlanningProblem(models=(model,), pools=pools)
    planner = Planner(PlanningOptions(with_baselines=False))

    half_price = PriceChange(
        pools=PoolSelector(text="L40S", gpu="L40S"), amount=Amount(How.TIMES, 0.5)
    )
    twice = DemandChange(model="phi-4", amount=Amount(How.TIMES, 2))
    for change in (half_price, twice):
        found = what_if(problem, [change], planner)
        difference = found.comparison.difference
        print(f"{change}: {difference.cost_usd_per_hour:+.2f} USD per hour ({difference.effect})")

    reasons = explain(problem, planner)
    for pool in reasons.pools:
        print(f"{pool.pool}: {pool.gpus_used} of {pool.gpus} GPUs used; binds: {pool.binds}")


if __name__ == "__main__":
    main()
