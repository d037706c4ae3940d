"""What templates carry for their money."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.unit.report.support import document, instance, outcome, problem, served

from coral_solver.domain.hardware import Link, NodeConfig
from coral_solver.domain.template import Prediction, ServingTemplate, StagePlacement
from coral_solver.domain.workload import Phase
from coral_solver.report.frontier import GRID_CELLS, template_frontiers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coral_solver.domain.workload import ServedModel

# Prices: 1 USD/h an L4, 6 USD/h an H100.
L4 = NodeConfig("L4", 1, Link.PCIE)
TWO_L4 = NodeConfig("L4", 2, Link.PCIE)
H100 = NodeConfig("H100", 1, Link.NVLINK)


class _Source:
    """A fixed list of templates for every model."""

    scope = "these"

    def __init__(self, *offers: tuple[float, NodeConfig]) -> None:
        self._offers = offers

    def templates(
        self, model: ServedModel, configs: Sequence[NodeConfig]
    ) -> Sequence[ServingTemplate]:
        return [
            ServingTemplate(
                model_id=model.id,
                phase=Phase.WHOLE,
                stages=(StagePlacement(40, (config,)),),
                prediction=Prediction(
                    capacity_req_per_s=capacity,
                    ttft_s=0.5,
                    tpot_s=0.02,
                    batch_per_stage=1.0,
                    source="made up",
                ),
                made_for=model.targets_digest,
            )
            for capacity, config in self._offers
        ]


def test_the_frontier_has_what_nothing_undercuts() -> None:
    source = _Source((1.0, L4), (0.9, TWO_L4), (1.5, TWO_L4), (12.0, H100), (11.0, H100))
    (found,) = template_frontiers(
        problem(served("a", 2)), source, document([], [outcome("a", 2, unmet=2)])
    )
    # 0.9 req/s for 2 USD/h loses against 1.0 for 1, 11 for 6 against 12 for 6.
    assert found.best_capacity_req_per_s.tolist() == [1.0, 1.5, 12.0]
    # 1 req/s for 1 USD/h are 3,600 requests a dollar; 1.5 for 2; 12 for 6.
    assert found.best_requests_per_usd.tolist() == pytest.approx([3600, 2700, 7200])
    assert found.num_templates == 5


def test_what_the_plan_chose_is_marked_at_the_price_it_pays() -> None:
    items = [instance("a"), instance("a"), instance("a", capacity_req_per_s=3.0, usd_per_hour=4.0)]
    (found,) = template_frontiers(
        problem(served("a", 2)), _Source((1.0, L4)), document(items, [outcome("a", 2)])
    )
    assert [(c.label, c.usd_per_hour) for c in found.chosen] == [
        ("1 L4", 4.0),
        ("1 L4 (2 copies)", 1.0),
    ]
    assert found.chosen[0].requests_per_usd == 2700  # 3 req/s x 3,600 s / 4 USD


def test_a_model_without_templates_has_no_frontier() -> None:
    plan = document([], [outcome("a", 2, unmet=2)])
    assert template_frontiers(problem(served("a", 2)), _Source(), plan) == ()


def test_thousands_of_templates_are_thinned_and_keep_their_extent() -> None:
    rng = np.random.default_rng(7)
    offers = [(float(capacity), L4) for capacity in np.exp(rng.uniform(-3, 3, 5000))]
    (found,) = template_frontiers(
        problem(served("a", 2)), _Source(*offers), document([], [outcome("a", 2, unmet=2)])
    )
    assert found.num_templates == 5000
    # All cost the same, so that they lie on a diagonal of the grid.
    assert len(found.capacity_req_per_s) <= 2 * GRID_CELLS
    largest = max(capacity for capacity, _ in offers)
    assert found.capacity_req_per_s.max() > 0.9 * largest
    assert found.best_capacity_req_per_s.tolist() == [largest]


def test_whole_nodes_cost_what_whole_nodes_cost() -> None:
    plan = document([], [outcome("a", 2, unmet=2)])
    four = NodeConfig("L4", 4, Link.PCIE)
    (found,) = template_frontiers(
        problem(served("a", 2)), _Source((4.0, four)), plan, whole_nodes_only=True
    )
    assert found.best_requests_per_usd.tolist() == [3600]  # 4 req/s x 3,600 s / 4 USD
