"""Prometheus metrics: every one is declared here, and documented from here."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from prometheus_client.metrics_core import Metric as Family


class Metric(NamedTuple):
    """One metric.

    ``name`` is without the suffix ``_total`` of counters, which Prometheus adds.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()
    is_counter: bool = False


_MODEL = ("namespace", "service", "model", "mode")
_PLAN = ("mode",)

DEMAND = Metric(
    "coral_model_demand_requests_per_second", "Demand that the plan was made for.", _MODEL
)
PLANNED = Metric(
    "coral_model_planned_requests_per_second", "Capacity of the planned instances.", _MODEL
)
READY = Metric(
    "coral_model_ready_requests_per_second", "Capacity of the instances that serve.", _MODEL
)
UNMET = Metric(
    "coral_model_unmet_requests_per_second", "Demand that the plan does not serve.", _MODEL
)
MODEL_INSTANCES = Metric("coral_model_instances", "Planned instances.", _MODEL)
MODEL_READY_INSTANCES = Metric("coral_model_ready_instances", "Instances that serve.", _MODEL)
MODEL_COST = Metric(
    "coral_model_cost_usd_per_hour", "Rent of the model's planned instances.", _MODEL
)
REPLACED_COST = Metric(
    "coral_service_replaced_cost_usd_per_hour",
    "What the pods cost that a Shadow service would replace.",
    ("namespace", "service"),
)
PLAN_COST = Metric(
    "coral_plan_cost_usd_per_hour", "Rent of all instances of the plan in force.", _PLAN
)
PLAN_SWITCHING = Metric(
    "coral_plan_switching_usd_per_hour",
    "Starting charge of the plan in force, spread over the payback horizon.",
    _PLAN,
)
PLAN_SOLVE = Metric("coral_plan_solve_seconds", "Time of the allocation's solve.", _PLAN)
PLAN_AGE = Metric("coral_plan_age_seconds", "Time since the plan in force was made.", _PLAN)
PLAN_VALUE = Metric("coral_plan_objective", "Value of a level of the objective.", (*_PLAN, "level"))
PLAN_BOUND = Metric(
    "coral_plan_bound", "Proven bound of a level of the objective.", (*_PLAN, "level")
)
PLAN_GAP = Metric("coral_plan_gap", "Relative gap of a level of the objective.", (*_PLAN, "level"))
BASELINE_COST = Metric(
    "coral_plan_baseline_cost_usd_per_hour",
    "Rent of another way to plan, for the same input.",
    (*_PLAN, "baseline"),
)
BASELINE_UNMET = Metric(
    "coral_plan_baseline_unmet_requests_per_second",
    "Demand that another way to plan would not serve, for the same input.",
    (*_PLAN, "baseline"),
)
PLANS = Metric(
    "coral_plans", "Plans made, by what set them off.", (*_PLAN, "reason"), is_counter=True
)
PLANNING_SECONDS = Metric(
    "coral_planning_seconds", "Time spent waiting for the planning process.", is_counter=True
)
ERRORS = Metric("coral_errors", "Faults, by reason.", ("reason",), is_counter=True)
APPLIED = Metric("coral_children_applied", "Children written.", is_counter=True)
DELETED = Metric("coral_children_deleted", "Children removed.", is_counter=True)
REFUSED = Metric("coral_nodes_refused", "GPU nodes that may not be used, by reason.", ("reason",))
POOL_NODES = Metric("coral_pool_nodes", "Nodes of a GPU pool.", ("pool",))
POOL_FREE = Metric(
    "coral_pool_free_gpus",
    "GPUs of a pool that Coral may use, those of its own pods included.",
    ("pool",),
)
POOL_USED = Metric(
    "coral_pool_planned_gpus", "GPUs of a pool that the Active plan takes.", ("pool",)
)
POOL_PRICE = Metric("coral_pool_node_usd_per_hour", "Price of a node of a pool.", ("pool",))
INPUTS_AGE = Metric(
    "coral_inputs_age_seconds", "Time since the last sign of life from the watches."
)
LEADER = Metric("coral_leader", "1 while this operator holds the Lease, else 0.")
STEPS = Metric("coral_steps", "Steps of the loop.", is_counter=True)

METRICS = (
    DEMAND,
    PLANNED,
    READY,
    UNMET,
    MODEL_INSTANCES,
    MODEL_READY_INSTANCES,
    MODEL_COST,
    REPLACED_COST,
    PLAN_COST,
    PLAN_SWITCHING,
    PLAN_SOLVE,
    PLAN_AGE,
    PLAN_VALUE,
    PLAN_BOUND,
    PLAN_GAP,
    BASELINE_COST,
    BASELINE_UNMET,
    PLANS,
    PLANNING_SECONDS,
    ERRORS,
    APPLIED,
    DELETED,
    REFUSED,
    POOL_NODES,
    POOL_FREE,
    POOL_USED,
    POOL_PRICE,
    INPUTS_AGE,
    LEADER,
    STEPS,
)

Samples = dict[Metric, dict[tuple[str, ...], float]]
"""Values by metric and by the values of its labels."""


class Metrics(Collector):
    """Holds the values; a scrape sees those of one step and never a mixture."""

    def __init__(self) -> None:
        self._gauges: Samples = {}
        self._counters: Samples = {}
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def publish(self, samples: Samples) -> None:
        """Replace all gauges at once: what is not among them any more goes."""
        self._gauges = samples

    def count(self, metric: Metric, *labels: str, by: float = 1.0) -> None:
        """Let a counter rise."""
        values = self._counters.setdefault(metric, {})
        values[labels] = values.get(labels, 0.0) + by

    def collect(self) -> Iterator[Family]:
        """Return all metrics; Prometheus' client calls this from its own thread."""
        gauges, counters = self._gauges, self._counters
        for metric in METRICS:
            make = CounterMetricFamily if metric.is_counter else GaugeMetricFamily
            family = make(metric.name, metric.help, labels=metric.labels)
            source: Mapping[Metric, Mapping[tuple[str, ...], float]]
            source = counters if metric.is_counter else gauges
            for labels, value in list(source.get(metric, {}).items()):
                family.add_metric(labels, value)
            yield family

    def serve(self, port: int) -> None:
        """Serve ``/metrics`` on all addresses, from a thread that ends with the process."""
        start_http_server(port, registry=self.registry)


def reference_page(metrics: Sequence[Metric] = METRICS) -> str:
    """Return the page that documents the metrics."""
    lines = [
        "# Metrics",
        "",
        "The operator serves these in Prometheus' text format on `/metrics`. The page is made by",
        "`python -m coral_operator.status.metrics`; a test compares them.",
        "",
        "| metric | type | labels | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for metric in metrics:
        name = f"{metric.name}_total" if metric.is_counter else metric.name
        kind = "counter" if metric.is_counter else "gauge"
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{name}` | {kind} | {labels} | {metric.help} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(reference_page(), end="")
