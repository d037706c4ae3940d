"""A plan beside other ways to plan: what a report compares them by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

SAME_RATE = 1e-6
"""Rates in req/s that differ by less than this count as equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRow:
    """One way to plan, in the numbers that ways are compared by.

    Attributes
    ----------
    name
        Name of the peer; empty for the plan itself.
    status
        How its solve ended.
    rent_usd_per_hour
        Rent, without starting charges: in those a peer pays for what only Coral has running.
    unmet_req_per_s
        Demand of all models that is not served.
    least_served_share
        Smallest share of its demand that any model gets; 1 where nobody asks for anything.
    rent_ratio
        Its rent over the plan's; None where the two do not serve the same, so that their rents
        do not compare, or where the plan costs nothing.
    """

    name: str
    status: str
    rent_usd_per_hour: float
    unmet_req_per_s: float
    least_served_share: float
    rent_ratio: float | None


def peer_rows(document: Mapping[str, Any]) -> tuple[PeerRow, ...]:
    """Return the plan of a document, then its peers by rent."""
    rent = document["rent_usd_per_hour"]
    demand = {model["model"]: model["demand_req_per_s"] for model in document["models"]}
    unmet = sum(document["unmet_req_per_s"].values())
    plan = PeerRow(
        name="",
        status=document["status"],
        rent_usd_per_hour=rent,
        unmet_req_per_s=unmet,
        least_served_share=_least_share(document["unmet_req_per_s"], demand),
        rent_ratio=1.0 if rent > 0 else None,
    )
    peers = []
    for name, peer in document["baselines"].items():
        peer_unmet = sum(peer["unmet_req_per_s"].values())
        is_comparable = rent > 0 and abs(peer_unmet - unmet) <= SAME_RATE
        peers.append(
            PeerRow(
                name=name,
                status=peer["status"],
                rent_usd_per_hour=peer["rent_usd_per_hour"],
                unmet_req_per_s=peer_unmet,
                least_served_share=_least_share(peer["unmet_req_per_s"], demand),
                rent_ratio=peer["rent_usd_per_hour"] / rent if is_comparable else None,
            )
        )
    return (plan, *sorted(peers, key=lambda peer: (peer.rent_usd_per_hour, peer.name)))


def _least_share(unmet: Mapping[str, float], demand: Mapping[str, float]) -> float:
    return min(
        (1.0 - unmet.get(model_id, 0.0) / rate for model_id, rate in demand.items() if rate > 0),
        default=1.0,
    )
