"""The flags of ``coral whatif``: text to typed changes, with every fault named."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coral_solver.catalog import InventoryRow, did_you_mean, gpu_type, inventory_pools
from coral_solver.domain.errors import CatalogError, CoralError, InvalidInputError
from coral_solver.domain.hardware import CapacityKind
from coral_solver.planning.changes import (
    Amount,
    BudgetChange,
    Change,
    DemandChange,
    How,
    NodesChange,
    PoolAdded,
    PoolSelector,
    PriceChange,
    RobustnessChange,
    SloChange,
)
from coral_solver.planning.nodes import MAX_NODES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST_POINTS = 200
"""Points of a sweep: more is a slip of the hand."""

_SLO_PARTS = ("ttft", "tpot", "attainment")
_SWEPT = ("demand", "price", "nodes", "ttft", "tpot", "robustness", "budget")
_UNITS = {
    "ttft": " s",
    "tpot": " s",
    "demand": " req/s",
    "price": " USD/h per GPU",
    "budget": " USD/h",
}
_OF_THE_POLICY = ("robustness", "budget")
"""What a sweep can vary that belongs to no model and no pool."""

_SECONDS = {"ms": 1e-3, "s": 1.0}
_POOL = re.compile(r"(?P<gpu>[^@]+?)(?:@(?P<region>[a-z0-9-]+))?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSpec:
    """A number to vary.

    Attributes
    ----------
    text
        As it was written.
    column
        Heading of its values.
    values
        In the order in which they are planned.
    change
        Makes the change of one value.
    """

    text: str
    column: str
    values: tuple[float, ...]
    change: Callable[[float], Change]


def parse_changes(
    *,
    demand: Sequence[str] = (),
    slo: Sequence[str] = (),
    price: Sequence[str] = (),
    nodes: Sequence[str] = (),
    add_pool: Sequence[str] = (),
    robustness: float | None = None,
    budget_usd_per_hour: float | None = None,
) -> tuple[Change, ...]:
    """Turn flags into changes; pools are added before prices and nodes change.

    Raises
    ------
    InvalidInputError
        With every flag that cannot be read, each with what to write.
    """
    changes: list[Change] = []
    faults: list[str] = []
    readers: tuple[tuple[str, Sequence[str], Callable[[str], Change]], ...] = (
        ("--add-pool", add_pool, _pool_added),
        ("--demand", demand, _demand),
        ("--slo", slo, _slo),
        ("--price", price, _price),
        ("--nodes", nodes, _nodes),
    )
    for flag, texts, reader in readers:
        for text in texts:
            try:
                changes.append(reader(text))
            except InvalidInputError as error:
                faults += [f"{flag} {text}: {problem}" for problem in error.problems]
            except CoralError as error:
                faults.append(f"{flag} {text}: {error}")
    if robustness is not None:
        changes.append(RobustnessChange(robustness=robustness))
    if budget_usd_per_hour is not None:
        changes.append(BudgetChange(usd_per_hour=budget_usd_per_hour))
    if faults:
        raise InvalidInputError(faults)
    return tuple(changes)


def parse_sweep(text: str) -> SweepSpec:
    """Turn ``demand:phi-4=x0.5..x2/7`` into values and the change that each makes.

    Raises
    ------
    InvalidInputError
        If it cannot be read; says what to write.
    """
    what, colon, rest = text.partition(":")
    if what not in _SWEPT:
        raise InvalidInputError(
            [f"--sweep {text}: cannot vary {what!r}: {did_you_mean(what, _SWEPT)}"]
        )
    target, equals, span = (
        ("", "=", rest.lstrip("=")) if what in _OF_THE_POLICY else rest.rpartition("=")
    )
    low_text, dots, tail = span.partition("..")
    high_text, slash, count_text = tail.rpartition("/")
    if not (colon and equals and dots and slash) or (what not in _OF_THE_POLICY and not target):
        raise InvalidInputError(
            [
                f"--sweep {text}: write what:name=from..to/points, such as "
                "demand:phi-4=x0.5..x2/7, nodes:L4=0..8/9, ttft:phi-4=300ms..1200ms/4, "
                "robustness:0..1/5 or budget:20..100/9"
            ]
        )
    try:
        read = _duration if what in ("ttft", "tpot") else amount
        low, high = read(low_text), read(high_text)
        points = _whole(count_text, "points")
        if low.how is not high.how:
            raise InvalidInputError(["both ends must be of one kind: 5..20, x0.5..x2 or +0..+4"])
        if not 2 <= points <= MOST_POINTS:
            raise InvalidInputError([f"points must be from 2 to {MOST_POINTS}"])
        change = _swept(what, target, low.how)
    except InvalidInputError as error:
        raise InvalidInputError([f"--sweep {text}: {fault}" for fault in error.problems]) from error
    step = (high.value - low.value) / (points - 1)
    values = [round(low.value + i * step, 12) for i in range(points)]
    suffix = _UNITS.get(what, "") if low.how is How.SET else f" ({low.how})"
    return SweepSpec(
        text=text,
        column=f"{what} {target}".rstrip() + suffix,
        values=tuple(values),
        change=change,
    )


def _swept(what: str, target: str, how: How) -> Callable[[float], Change]:
    if what == "demand":
        return lambda value: DemandChange(model=target, amount=Amount(how, value))
    if what == "ttft":
        return lambda value: SloChange(model=target, ttft=Amount(how, value))
    if what == "tpot":
        return lambda value: SloChange(model=target, tpot=Amount(how, value))
    if what == "robustness":
        return lambda value: RobustnessChange(robustness=value)
    if what == "budget":
        return lambda value: BudgetChange(usd_per_hour=value)
    pools = _selector(target)
    if what == "price":
        return lambda value: PriceChange(pools=pools, amount=Amount(how, value))
    return lambda value: NodesChange(pools=pools, amount=Amount(how, value))


def amount(text: str) -> Amount:
    """Read ``12``, ``=12``, ``+3``, ``-1`` or ``x2``.

    Raises
    ------
    InvalidInputError
        If it is none of them, not finite, or a negative value or factor.
    """
    how = {"x": How.TIMES, "+": How.ADD, "-": How.ADD}.get(text[:1], How.SET)
    digits = text if text[:1] == "-" else text.lstrip("=") if how is How.SET else text[1:]
    value = _number(digits)
    if value < 0 and how is not How.ADD:
        raise InvalidInputError([f"{text!r} is negative: give 0 or more"])
    return Amount(how, value)


def _demand(text: str) -> Change:
    model, rest = _split(text, "MODEL=x2, MODEL=12, MODEL=+3")
    return DemandChange(model=model, amount=amount(rest))


def _slo(text: str) -> Change:
    example = "MODEL=ttft:500ms,tpot:40ms"
    model, rest = _split(text, example)
    found: dict[str, Amount] = {}
    for part in rest.split(","):
        name, _, value = part.partition(":")
        if name not in _SLO_PARTS:
            raise InvalidInputError([f"no target {name!r}: {did_you_mean(name, _SLO_PARTS)}"])
        if name in found:
            raise InvalidInputError([f"{name} is given twice"])
        found[name] = amount(value) if name == "attainment" else _duration(value)
    return SloChange(model=model, **found)


def _price(text: str) -> Change:
    pools, rest = _split(text, "GPU=1.50, GPU@region/spot=x1.2")
    return PriceChange(pools=_selector(pools), amount=amount(rest))


def _nodes(text: str) -> Change:
    pools, rest = _split(text, "GPU=+2, GPU=-1, GPU=0")
    return NodesChange(pools=_selector(pools), amount=amount(rest))


def _pool_added(text: str) -> Change:
    parts = text.split(":")
    if len(parts) not in (5, 6):
        raise InvalidInputError(
            [
                "write GPU:count:region:usd:nodes, with :kind at the end if it is not on-demand, "
                "such as H200:8:us-east-2:4.50:2; usd is the price of one GPU per hour, and if it "
                "is empty the catalogue's"
            ]
        )
    gpu, count, region, usd, nodes, *kind = parts
    if not re.fullmatch(r"[a-z0-9-]{1,63}", region):
        raise InvalidInputError([f"{region!r} is no region: small letters, digits and hyphens"])
    gpus_per_node = _whole(count, "GPUs per node")
    pools = inventory_pools(
        [
            InventoryRow(
                gpu=gpu,
                gpus_per_node=gpus_per_node,
                nodes=_whole(nodes, "nodes"),
                region=region,
                kind=_kind(kind[0]) if kind else CapacityKind.ON_DEMAND,
                node_usd_per_hour=(
                    _not_negative(usd, "the price of a GPU") * gpus_per_node if usd else None
                ),
                where="the new pool",
            )
        ]
    )
    return PoolAdded(pool=pools[0])


def _selector(text: str) -> PoolSelector:
    """Read ``L4``, ``L4x4``, ``L4@us-east-2``, ``L4/spot``, ``*`` or a whole pool name."""
    head, slash, kind = text.rpartition("/")
    if slash and kind in set(CapacityKind) and "/" in head:
        return PoolSelector(text=text, gpu=text)  # a whole name has two slashes
    rest = head if slash else text
    found = _POOL.match(rest)
    if found is None or not rest:
        raise InvalidInputError(
            [f"{text!r} names no pools: write GPU, GPU@region, GPU/spot or a pool's whole name"]
        )
    gpu, count = found["gpu"], None
    sized = re.fullmatch(r"(.+)x(\d{1,4})", gpu)
    if sized and not _is_gpu(gpu):
        gpu, count = sized[1], int(sized[2])
    return PoolSelector(
        text=text,
        gpu=gpu,
        gpus_per_node=count,
        region=found["region"],
        kind=_kind(kind) if slash else None,
    )


def _is_gpu(name: str) -> bool:
    try:
        gpu_type(name)
    except CatalogError:
        return False
    return True


def _kind(text: str) -> CapacityKind:
    if text not in set(CapacityKind):
        raise InvalidInputError([f"no kind {text!r}: {did_you_mean(text, CapacityKind)}"])
    return CapacityKind(text)


def _split(text: str, examples: str) -> tuple[str, str]:
    name, equals, rest = text.partition("=")
    if not (name and equals and rest):
        raise InvalidInputError([f"write {examples}"])
    return name, rest


def _duration(text: str) -> Amount:
    if text[:1] == "x":
        return amount(text)
    found = re.fullmatch(r"(.*?)(ms|s)", text)
    if found is None:
        raise InvalidInputError([f"{text!r} has no unit: write 500ms, 0.5s or x1.5"])
    return Amount(How.SET, _not_negative(found[1], "a latency") * _SECONDS[found[2]])


def _not_negative(text: str, what: str) -> float:
    value = _number(text)
    if value < 0:
        raise InvalidInputError([f"{what} is {value:g}: give 0 or more"])
    return value


def _whole(text: str, what: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= MAX_NODES:
        raise InvalidInputError([f"{what}: {text!r} is no whole number from 1 to {MAX_NODES}"])
    return int(text)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise InvalidInputError([f"{text!r} is no number"]) from error
    if not math.isfinite(value):
        raise InvalidInputError([f"{text!r} is not finite: give a number"])
    return value
