"""Plan two models on a small mixed cluster, and say what runs where and what it costs."""

from coral_solver import (
    InventoryRow,
    LengthDistribution,
    ServedModel,
    Slo,
    Workload,
    inventory_pools,
    model_arch,
    plan,
)


def main() -> None:
    """Plan and print."""
    chat = model_arch("qwen3-32b")
    code = model_arch("gpt-oss-20b")
    models = [
        ServedModel(
            id="chat",
            arch=chat,
            precision=chat.native_precision,
            slo=Slo(ttft_s=1.6, tpot_s=0.1),
            workload=Workload(
                input_tokens=LengthDistribution.from_mean(900),
                output_tokens=LengthDistribution.from_mean(160),
            ),
            demand_req_per_s=4,
        ),
        ServedModel(
            id="code",
            arch=code,
            precision=code.native_precision,
            slo=Slo(ttft_s=0.9, tpot_s=0.03),
            workload=Workload(
                # Quantiles say more than a mean: 95 % of the prompts have at most 7,000 tokens.
                input_tokens=LengthDistribution.from_quantiles({0.05: 80, 0.5: 1500, 0.95: 7000}),
                output_tokens=LengthDistribution.from_mean(28),
            ),
            demand_req_per_s=6,
        ),
    ]
    # Prices come from the built-in catalogue unless a row has one.
    pools = inventory_pools(
        [
            InventoryRow(gpu="H100", gpus_per_node=8, nodes=1, region="us-east-2", where="row 1"),
            InventoryRow(gpu="L40S", gpus_per_node=4, nodes=2, region="us-east-2", where="row 2"),
        ]
    )
    result = plan(models, pools)

    print(f"{result.plan.status}: {result.plan.cost_usd_per_hour:.2f} USD per hour")
    for instance in result.plan.instances:
        nodes = ", ".join(sorted({str(piece.node) for piece in instance.slices}))
        print(f"  {instance.name}: {instance.template.id} on {nodes}")
    for outcome in result.plan.outcomes:
        print(f"  {outcome.model_id}: {outcome.message}")
    for name, peer in result.baselines.items():
        print(f"  {name} would pay {peer.rent_usd_per_hour:.2f} USD per hour")


if __name__ == "__main__":
    main()
