"""What the commands share that plan a problem more than once: their options and the planner."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
import yaml

from coral_api.files import load_manifests
from coral_api.plans import instances_from
from coral_cli.plan import OutputFormat
from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.plan import ObjectiveLevel
from coral_solver.planning.facts import WITHOUT_TEMPLATE, InstanceFacts, PlanFacts
from coral_solver.planning.planner import Planner, PlanningOptions
from coral_solver.report.plan_file import instances_from_document, plan_from_document
from coral_solver.templates.cache import default_cache_dir

if TYPE_CHECKING:
    from coral_api.servingplan import ServingPlan
    from coral_solver.domain.hardware import GpuPool
    from coral_solver.domain.plan import ServingInstance
    from coral_solver.domain.template import PlacementSpace

SPACE = typer.Option(help="Placements to search: what vLLM runs, or the paper's.")
MAX_NODES = typer.Option(help="Most node configurations of one instance.", min=1, max=12)
TIME_LIMIT = typer.Option("--time-limit", help="Limit of each single solve in seconds.", min=0.1)
CACHE_DIR = typer.Option(help="Where templates are kept between runs.")
SWITCHING = typer.Option(
    "--switching/--no-switching",
    help="Whether costs contain the charge for starting instances, spread over the payback "
    "horizon. Without it the answers are about the steady state.",
)
PLAN_IN_FORCE = typer.Option(
    "--plan",
    help="The plan in force: a file of `coral plan -o json`, or a ServingPlan. What it runs costs "
    "nothing to keep; starting something else is charged.",
    show_default=False,
)


def planner_of(
    space: PlacementSpace, max_nodes: int, time_limit_s: float, cache_dir: Path | None
) -> Planner:
    """Return a planner for many plans of almost the same problem: no baselines, one library."""
    return Planner(
        PlanningOptions(
            space=space,
            max_nodes=max_nodes,
            time_limit_s=time_limit_s,
            cache_dir=cache_dir or default_cache_dir(),
            with_baselines=False,
            with_margin_cost=False,
        )
    )


def instances_in_force(path: Path, pools: tuple[GpuPool, ...]) -> tuple[ServingInstance, ...]:
    """Read the instances of a plan file.

    Parameters
    ----------
    path
        A file of ``coral plan -o json`` (or ``yaml``), or a ServingPlan manifest.
    pools
        Pools on offer.

    Raises
    ------
    InvalidInputError
        If it is neither.
    """
    document = _document(path)
    if document.get("kind") == "ServingPlan":
        return instances_from(_serving_plan(path))
    return instances_from_document(document, str(path), pools)


def read_plan(path: Path) -> PlanFacts:
    """Read a plan to compare.

    Parameters
    ----------
    path
        A file of ``coral plan -o json`` (or ``yaml``), or a ServingPlan manifest.

    Raises
    ------
    InvalidInputError
        If it is neither.
    """
    document = _document(path)
    if document.get("kind") == "ServingPlan":
        return _facts(_serving_plan(path))
    return plan_from_document(document, str(path))


def write_document(document: dict[str, Any], output: OutputFormat) -> None:
    """Print an answer for programs, as JSON or as YAML."""
    if output is OutputFormat.JSON:
        typer.echo(json.dumps(document, indent=2, allow_nan=False))
    else:
        typer.echo(yaml.safe_dump(document, sort_keys=False), nl=False)


def _document(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InvalidInputError([f"{path}: there is no such file"]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError([f"{path}: cannot be read: {error}"]) from error
    try:
        document = json.loads(text)
    except ValueError:
        document = _from_yaml(text, path)
    except RecursionError as error:
        raise InvalidInputError([f"{path}: is nested too deeply to be a plan"]) from error
    if not isinstance(document, dict):
        raise InvalidInputError([f"{path}: this is no plan: `coral plan ... -o json` writes one"])
    return document


def _from_yaml(text: str, path: Path) -> object:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidInputError([f"{path}: is neither JSON nor YAML: {error}"]) from error


def _serving_plan(path: Path) -> ServingPlan:
    plans = load_manifests([path]).plans
    if len(plans) != 1:
        raise InvalidInputError([f"{path}: has {len(plans)} ServingPlans; give a file with one"])
    return plans[0]


def _facts(plan: ServingPlan) -> PlanFacts:
    spec = plan.spec
    outcomes = {outcome.model_id: outcome for outcome in spec.outcomes}
    return PlanFacts(
        status=str(spec.status),
        cost_usd_per_hour=spec.rent_usd_per_hour + spec.switching_usd_per_hour,
        rent_usd_per_hour=spec.rent_usd_per_hour,
        switching_usd_per_hour=spec.switching_usd_per_hour,
        demand_req_per_s={name: x.demand_requests_per_second for name, x in outcomes.items()},
        capacity_req_per_s={name: x.capacity_requests_per_second for name, x in outcomes.items()},
        unmet_req_per_s={name: x.unmet_requests_per_second for name, x in outcomes.items()},
        usd_per_hour={name: x.usd_per_hour for name, x in outcomes.items()},
        models_without_template=frozenset(
            name for name, x in outcomes.items() if x.reason == WITHOUT_TEMPLATE
        ),
        instances=tuple(InstanceFacts.of(instance) for instance in instances_from(plan)),
        opened_nodes=dict(spec.opened_nodes),
        objective=tuple(
            ObjectiveLevel(
                level=level.level,
                sense=level.sense,
                value=level.value,
                # Without a bound nothing is proven: the trivial one of each sense.
                bound=level.bound if level.bound is not None else float(level.sense == "max"),
                gap=level.gap if level.gap is not None else 1.0,
            )
            for level in spec.objective
        ),
        bound_scope=spec.bound_scope,
    )
