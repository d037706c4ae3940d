"""What the demo does, scene by scene, and what it checks in each."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.table import Table

from coral_api.crds import write_crds
from coral_api.multillmservice import MultiLLMService
from coral_api.plans import instances_from
from coral_api.servingplan import ServingPlan
from coral_localcluster import GpuNodeSpec, LocalCluster, gpu_node, poll_until
from coral_operator.children.labels import SELECTOR
from coral_solver.catalog import inventory

if TYPE_CHECKING:
    from rich.console import Console

INVENTORY = "alibaba-spot-gpu-2026"
NODES = 24
"""The inventory has 3,167 usable nodes; the demo keeps its mix and scales the number down."""

SERVICES = Path(__file__).parents[2] / "examples" / "three-models.yaml"
NAMESPACE = "default"
WAIT_S = 60.0


def gpu_fleet() -> list[GpuNodeSpec]:
    """Return emulated nodes in the mix of a real inventory."""
    return [
        gpu_node(
            f"{row.gpu}-{row.gpus_per_node}gpu-{number:02d}".lower(),
            row.gpu,
            row.gpus_per_node,
            region=row.region,
        )
        for row in inventory(INVENTORY, nodes=NODES)
        for number in range(row.nodes)
    ]


class Story:
    """Tells the demo on a cluster and remembers which checks failed.

    Parameters
    ----------
    cluster
        A running local cluster with GPU nodes.
    console
        Where to tell it.
    """

    def __init__(self, cluster: LocalCluster, console: Console) -> None:
        self._cluster = cluster
        self._console = console
        self._failures: list[str] = []

    def install(self) -> None:
        """Apply the CRDs, as the chart does."""
        crds = self._cluster.state_dir / "crds"
        crds.mkdir(exist_ok=True)
        write_crds(crds)
        self._cluster.kubectl("apply", "--server-side", "-f", str(crds))
        self._cluster.kubectl(
            "wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"
        )

    def tell(self) -> None:
        """Run every scene."""
        service = yaml.safe_load(SERVICES.read_text(encoding="utf-8"))
        service["spec"]["mode"] = "Active"

        self._scene("1. Three models with real prices and latency targets are applied")
        before_s = time.monotonic()
        self._apply(service, {"gpt-oss-20b": 40, "phi-4": 20, "qwen3-32b": 20})
        first = self._settled(service, after=None)
        self._say_time("from kubectl apply to running Deployments", before_s)
        self._show(first)
        self._check_children(first)
        self._check(_unmet_req_per_s(first) == 0, "every model's demand is met")

        self._scene("2. Demand changes: twice as much for gpt-oss-20b and qwen3-32b")
        uids = self._deployment_uids()
        before_s = time.monotonic()
        self._apply(service, {"gpt-oss-20b": 80, "phi-4": 20, "qwen3-32b": 40})
        second = self._settled(service, after=first)
        self._say_time("from kubectl apply to running Deployments", before_s)
        self._show(second)
        self._check_children(second)
        self._check_diff(second, uids)
        self._check(_unmet_req_per_s(second) == 0, "every model's demand is met")

        lost = [node.name for node in gpu_fleet() if node.name.startswith("h100")]
        self._scene("3. Every H100 node is lost: the pool is gone, the rest is not enough")
        before_s = time.monotonic()
        self._cluster.remove_nodes(lost)
        third = self._settled(service, after=second)
        self._say_time("from the loss of the nodes to running Deployments", before_s)
        self._show(third)
        self._check_children(third)
        nodes = {piece.node for instance in third.spec.instances for piece in instance.slices}
        self._check(not nodes & set(lost), f"nothing is planned on the {len(lost)} lost nodes")
        self._check(
            all(
                outcome.unmet_requests_per_second < outcome.demand_requests_per_second
                for outcome in third.spec.outcomes
            )
            and _unmet_req_per_s(third) > 0,
            "what cannot be served is stated, and every model keeps a share",
        )

        self._scene("4. What others would rent for the same, solved through the same checker")
        self._compare({"first": first, "second": second, "third": third})

    def fail(self, what: str) -> None:
        """Note that something did not happen."""
        self._check(False, what)

    def end(self) -> bool:
        """Say how it went; true if every check passed."""
        self._console.rule()
        if self._failures:
            self._console.print(f"[bold red]{len(self._failures)} checks failed[/]")
            for failure in self._failures:
                self._console.print(f"  - {failure}", markup=False)
        else:
            self._console.print("[bold green]every check passed[/]")
        return not self._failures

    # --- acting and waiting -----------------------------------------------------------------

    def _apply(self, service: dict[str, Any], demands_req_per_s: dict[str, float]) -> None:
        for model in service["spec"]["models"]:
            model["demand"]["requestsPerSecond"] = demands_req_per_s[model["name"]]
        self._cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(service))

    def _settled(self, service: dict[str, Any], *, after: ServingPlan | None) -> ServingPlan:
        """Wait until the newest spec is planned, carried out and running, and return its plan."""
        name = service["metadata"]["name"]

        def look() -> ServingPlan | None:
            live = MultiLLMService.from_manifest(self._get("multillmservice", name))
            plan_name = live.status.plan_ref
            if plan_name is None or (after and plan_name == after.metadata.name):
                return None
            status = live.status
            if status.observed_generation != live.metadata.generation:
                return None
            if status.ready_instances < status.instances:
                return None
            return ServingPlan.from_manifest(self._get("servingplan", plan_name))

        return poll_until(
            look,
            timeout_s=WAIT_S,
            what="a new plan whose Deployments run",
            detail=lambda: self._cluster.kubectl("describe", "multillmservice", name),
        )

    def _deployment_uids(self) -> dict[str, str]:
        found = self._get("deployments", f"--selector={SELECTOR}")
        return {item["metadata"]["name"]: item["metadata"]["uid"] for item in found["items"]}

    def _get(self, *what: str) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(self._cluster.kubectl("get", *what, "--output=json"))
        return shown

    # --- showing ----------------------------------------------------------------------------

    def _scene(self, title: str) -> None:
        self._console.print()
        self._console.rule(f"[bold]{title}", align="left")

    def _say_time(self, what: str, before_s: float) -> None:
        self._console.print(f"{time.monotonic() - before_s:.1f} s {what}")

    def _show(self, plan: ServingPlan) -> None:
        spec = plan.spec
        table = Table(header_style="bold")
        for column in ("model", "copies", "GPUs of one copy", "TP x PP", "layers", "on nodes"):
            table.add_column(column)
        table.add_column("req/s", justify="right")
        table.add_column("USD/h", justify="right")
        instances = instances_from(plan)
        for template in {i.template.id: i.template for i in instances}.values():
            copies = [i for i in instances if i.template.id == template.id]
            table.add_row(
                template.model_id.rsplit("/", 1)[-1],
                str(len(copies)),
                ", ".join(
                    f"{n * config.gpu_count} {config.gpu}"
                    for config, n in template.config_counts.items()
                ),
                f"{template.stages[0].configs[0].gpu_count} x {len(template.stages)}",
                "+".join(str(stage.layers) for stage in template.stages),
                ", ".join(sorted({str(piece.node) for i in copies for piece in i.slices})),
                f"{len(copies) * template.capacity_req_per_s:.1f}",
                f"{sum(i.usd_per_hour for i in copies):.2f}",
            )
        self._console.print(table)
        for outcome in spec.outcomes:
            self._console.print(
                f"  {outcome.model_id.rsplit('/', 1)[-1]}: demand "
                f"{outcome.demand_requests_per_second:g} req/s, capacity "
                f"{outcome.capacity_requests_per_second:.1f}, unmet "
                f"{outcome.unmet_requests_per_second:g}"
            )
        level = spec.objective[-1]
        gap = "unknown" if level.gap is None else f"{level.gap:.3%}"
        self._console.print(
            f"  plan {plan.metadata.name}: {spec.rent_usd_per_hour:.2f} USD/h, {spec.status}, "
            f"gap {gap}, solved in {spec.solve_seconds:.2f} s"
        )

    def _compare(self, plans: dict[str, ServingPlan]) -> None:
        self._console.print(
            "Rent in USD/h (over Coral's), then the smallest share of its demand that any model "
            "gets.\n"
            "- homogeneous: each replica on one kind of GPUs, all models together, solved exactly\n"
            "- homogeneous_greedy: model by model, most goodput per USD first (the paper's Homo)\n"
            "- homogeneous_greedy_capped: the same, goodput beyond the demand does not count\n"
            "- melange: each model's own exact program, on what the models before it left\n"
            "- greedy_joint: all of Coral's templates, bought one by one by a rule"
        )
        table = Table(header_style="bold")
        table.add_column("plan")
        table.add_column("Coral", justify="right")
        names = sorted({name for plan in plans.values() for name in plan.spec.baselines})
        for name in names:
            table.add_column(name.replace("_", "\n"), justify="right")
        for title, plan in plans.items():
            ours = plan.spec.rent_usd_per_hour
            least = min(
                1 - outcome.unmet_requests_per_second / outcome.demand_requests_per_second
                for outcome in plan.spec.outcomes
            )
            peers = [plan.spec.baselines[name] for name in names]
            table.add_row(
                title,
                f"{ours:.2f}, {least:.0%}",
                *(
                    f"{peer.rent_usd_per_hour:.2f} ({peer.rent_usd_per_hour / ours:.3f}x), "
                    f"{peer.least_served_share:.0%}"
                    for peer in peers
                ),
            )
            self._check(bool(peers), f"the peers of the {title} plan were solved")
        self._console.print(table)

    # --- checking ---------------------------------------------------------------------------

    def _check(self, is_so: bool, what: str) -> None:
        self._console.print(f"  {'[green]ok[/]  ' if is_so else '[bold red]NO[/]  '}{what}")
        if not is_so:
            self._failures.append(what)

    def _check_children(self, plan: ServingPlan) -> None:
        """Compare the Deployments and pods on the cluster with the plan, node by node."""
        instances = instances_from(plan)
        planned = Counter(piece.node for i in instances for piece in i.slices)
        running = Counter(
            pod["spec"].get("nodeName")
            for pod in self._get("pods", f"--selector={SELECTOR}")["items"]
            if "deletionTimestamp" not in pod["metadata"] and pod["status"]["phase"] == "Running"
        )
        self._check(
            len(self._deployment_uids()) == sum(len(i.template.stages) for i in instances),
            f"{len(self._deployment_uids())} Deployments: one per stage of {len(instances)} "
            "instances",
        )
        self._check(
            running == planned, f"{running.total()} pods run on exactly the nodes of the plan"
        )

    def _check_diff(self, plan: ServingPlan, uids_before: dict[str, str]) -> None:
        """Check that what the plan keeps was not touched, and that what it drops is gone."""
        diff = plan.spec.diff
        now = self._deployment_uids()
        gone = set(uids_before) - set(now)
        survived = [name for name, uid in uids_before.items() if now.get(name) == uid]
        self._check(
            all(any(name.startswith(kept) for name in survived) for kept in diff.kept),
            f"{len(diff.kept)} instances go on untouched",
        )
        self._check(
            all(any(name.startswith(dropped) for dropped in diff.removed) for name in gone),
            f"{len(diff.removed)} instances were removed, {len(diff.added)} added, nothing else",
        )


def _unmet_req_per_s(plan: ServingPlan) -> float:
    return sum(outcome.unmet_requests_per_second for outcome in plan.spec.outcomes)
