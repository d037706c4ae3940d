"""What a report is made from, and the words that sum it up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coral_cli.report.numbers import in_prose, percent, usd
from coral_solver.catalog import NodePrice, node_price

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from coral_solver.domain.hardware import GpuPool
    from coral_solver.domain.plan import PlanningProblem
    from coral_solver.report.figures import ReportFigures
    from coral_solver.report.frontier import Frontier
    from coral_solver.report.peers import PeerRow

SAME_PRICE_USD = 1e-9
SHOWN_GAP = 1e-4
"""Smaller gaps are rounded up to this one in a sentence."""
SAME_RENT_SHARE = 5e-4
"""Rents that differ by less are called the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """A file that was read: its name as it was given, and the SHA-256 of its content."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """How a report came to be.

    Attributes
    ----------
    made_at
        When, in UTC.
    versions
        Version by package.
    command
        The command line.
    options
        Name and value of every option that the plan and the templates follow from.
    files
        What was read.
    """

    made_at: datetime
    versions: Mapping[str, str]
    command: str
    options: Mapping[str, str]
    files: Sequence[InputFile]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportContent:
    """Everything that a report is made from.

    Attributes
    ----------
    problem
        Models and pools.
    document
        The plan, as ``plan_document`` gives it.
    figures, frontiers
        What is drawn of it.
    names
        Name of each model in plots and tables, by id.
    provenance
        How it came to be.
    refused
        Nodes that cannot be used: ``name``, ``reason``, ``message``.
    notes, left_out
        What was read and not used; models that cannot be planned. In words.
    """

    problem: PlanningProblem
    document: Mapping[str, Any]
    figures: ReportFigures
    frontiers: Sequence[Frontier]
    names: Mapping[str, str]
    provenance: Provenance
    refused: Sequence[Mapping[str, str]]
    notes: Sequence[str]
    left_out: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyNumber:
    """A number at the top of a report: what it is, its value, and a line under it."""

    label: str
    value: str
    note: str
    is_bad: bool = False


def verdict(content: ReportContent) -> str:
    """Return what the plan decides, in one or two sentences."""
    models = content.figures.models
    demand = sum(model.demand_req_per_s for model in models)
    served = sum(model.served_req_per_s for model in models)
    short = [content.names[m.model_id] for m in models if m.unmet_req_per_s > 0]
    cost = f"{usd(content.document['cost_usd_per_hour'])} USD per hour"
    gpus = sum(model.gpus for model in models)
    instances = sum(model.instances for model in models)
    where = f"on {_count(gpus, 'GPU')} in {_count(instances, 'instance')}"
    if short:
        some = ", ".join(short[:3]) + (f" and {len(short) - 3} more" if len(short) > 3 else "")
        return (
            f"{in_prose(served)} of {in_prose(demand)} requests per second "
            f"({percent(served / demand)}) are served for {cost}, {where}. "
            f"{_are_short(len(short), len(models))}: {some}."
        )
    return (
        f"The whole demand of {_count(len(models), 'model')}, {in_prose(demand)} requests per "
        f"second, is served for {cost}, {where}."
    )


def proof(document: Mapping[str, Any]) -> str:
    """Return what is proven about the plan, in a sentence."""
    worst = _largest_gap(document)
    if worst is None:
        return "Nothing is proven about it: the solver gave no bound. The plan itself was checked."
    gap = percent(max(worst, SHOWN_GAP), 2)
    if document["status"] == "OPTIMAL":
        return f"Proven: no plan from the templates searched is better by more than {gap}."
    if document["status"] == "FEASIBLE":
        return (
            f"The time limit ended the proof: a plan that is better by up to {gap} may exist. What "
            "is shown was checked and can be carried out."
        )
    return (
        f"The solver ended with {document['status']}: the plan was checked and can be carried out, "
        "but nothing is known about how good it is."
    )


def _largest_gap(document: Mapping[str, Any]) -> float | None:
    """Return the largest gap of all levels; None where a level has no bound."""
    gaps = [level["gap"] for level in document["objective"]]
    return None if not gaps or None in gaps else max(gaps)


def peer_verdict(peers: Sequence[PeerRow]) -> str:
    """Return how the plan compares with its peers, in a sentence that favours nobody."""
    plan, others = peers[0], peers[1:]
    if not others:
        return "No peer was planned."
    comparable = [peer for peer in others if peer.rent_ratio is not None]
    if not comparable:
        more = sum(peer.unmet_req_per_s < plan.unmet_req_per_s for peer in others)
        share = max(peer.least_served_share for peer in others)
        return (
            f"No peer serves the same as this plan, so that rents do not compare: {more} of "
            f"{len(others)} serve more in sum, {len(others) - more} less. The worst-off model gets "
            f"{percent(plan.least_served_share, 1)} of its demand in this plan, at most "
            f"{percent(share, 1)} in a peer's."
        )
    best = min(comparable, key=lambda peer: (peer.rent_ratio or 0.0, peer.name))
    name, ratio = best.name.replace("_", " "), best.rent_ratio or 1.0
    if abs(ratio - 1) < SAME_RENT_SHARE:
        same = sum(abs((p.rent_ratio or 0.0) - ratio) < SAME_RENT_SHARE for p in comparable)
        text = f"No peer serves the same for less; {same} of {len(others)} pay the same rent."
    else:
        text = f"The cheapest peer that serves the same, {name}, pays {ratio:.2f} times the rent."
    left = len(others) - len(comparable)
    if left:
        text += f" {_count(left, 'peer')} of {len(others)} serve another amount: see the table."
    return text


def key_numbers(content: ReportContent) -> list[KeyNumber]:
    """Return the numbers at the top."""
    document, figures = content.document, content.figures
    demand = sum(model.demand_req_per_s for model in figures.models)
    served = sum(model.served_req_per_s for model in figures.models)
    unmet = demand - served
    switching = document["switching_usd_per_hour"]
    cost_note = (
        f"{usd(document['rent_usd_per_hour'])} rent + {usd(switching)} for starting instances"
        if switching > 0
        else "rent"
    )
    gap = _largest_gap(document)
    used = sum(pool.used_gpus for pool in figures.pools)
    total = sum(pool.total_gpus for pool in figures.pools)
    comparable = [p.rent_ratio for p in figures.peers[1:] if p.rent_ratio is not None]
    share = percent(served / demand) if demand > 0 else "no demand"
    return [
        KeyNumber(
            label="Cost, USD per hour", value=usd(document["cost_usd_per_hour"]), note=cost_note
        ),
        KeyNumber(
            label="Demand served",
            value=share,
            note=f"{in_prose(served)} of {in_prose(demand)} req/s",
            is_bad=unmet > 0,
        ),
        KeyNumber(
            label="Largest gap",
            value="not known" if gap is None else percent(gap, 2),
            note=f"{document['status']}: to the best plan from all templates searched",
            is_bad=document["status"] != "OPTIMAL",
        ),
        KeyNumber(label="GPUs used", value=f"{used} of {total}", note=_pools_used(figures)),
        KeyNumber(
            label="Cheapest peer",
            value=f"{min(comparable):.2f}\N{MULTIPLICATION SIGN} rent" if comparable else "none",
            note="among those that serve the same" if comparable else "no peer serves the same",
        ),
    ]


def _pools_used(figures: ReportFigures) -> str:
    used = sum(1 for pool in figures.pools if pool.used_gpus)
    return f"in {used} of {_count(len(figures.pools), 'pool')}"


def price_source(pool: GpuPool) -> str:
    """Return where the price of a pool's nodes comes from, in words."""
    key = pool.key
    price = node_price(key.gpu, key.gpus_per_node, key.region, key.kind)
    if (
        isinstance(price, NodePrice)
        and abs(price.usd_per_hour - pool.node_usd_per_hour) <= SAME_PRICE_USD
    ):
        return f"catalogue: {price.cloud} {price.instance_type}; {price.provenance}"
    return "given with the pool, or of another instance type"


def _are_short(short: int, models: int) -> str:
    if short == models:
        return "The model is short" if models == 1 else f"All {models} models are short"
    return f"{short} of {models} models {'is' if short == 1 else 'are'} short"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
