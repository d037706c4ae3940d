"""Lists of templates behave as sequences and build objects only when they are looked at."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from coral_solver.domain.hardware import Link, NodeConfig
from coral_solver.domain.template import Prediction, StagePlacement
from coral_solver.domain.workload import Phase
from coral_solver.templates.placements import NO_NODE, NO_POINT, Placements, join_placements
from coral_solver.templates.template_list import PhaseTemplates, TemplateList

L4 = NodeConfig("L4", 2, Link.PCIE)
A10G = NodeConfig("A10G", 4, Link.PCIE)
CONFIGS = (A10G, L4)


def placements(*rows):
    """Each row: (capacity, nodes, stages, layers)."""

    def padded(values, fill):
        return [*values, *[fill] * (6 - len(values))]

    return Placements(
        capacity_req_per_s=np.array([row[0] for row in rows], dtype=np.float64),
        nodes=np.array([padded(row[1], NO_NODE) for row in rows], dtype=np.uint8),
        stages=np.array([padded(row[2], NO_NODE) for row in rows], dtype=np.uint8),
        layers=np.array([padded(row[3], 0) for row in rows], dtype=np.uint16),
        points=np.full(len(rows), NO_POINT, dtype=np.int32),
    )


@pytest.fixture
def described():
    return []


@pytest.fixture
def templates(described):
    def describe(stages, capacity_req_per_s, point):
        described.append(stages)
        prediction = Prediction(
            capacity_req_per_s=capacity_req_per_s,
            ttft_s=0.0,
            tpot_s=0.0,
            batch_per_stage=0.0,
            source="test",
        )
        return prediction, None

    # The third: L4 in the first stage, both A10G in the second.
    prefill = placements((1.0, [0], [0], [9]), (2.0, [1], [0], [9]))
    decode = placements((3.0, [0, 0, 1], [1, 1, 0], [4, 5]))
    return TemplateList(
        "ns/service/chat",
        "targets",
        CONFIGS,
        [
            PhaseTemplates(phase=Phase.PREFILL, placements=prefill, describe=describe),
            PhaseTemplates(phase=Phase.DECODE, placements=decode, describe=describe),
        ],
    )


def test_every_template_says_what_it_was_made_for(templates):
    assert {template.made_for for template in templates} == {"targets"}
    assert len({template.id for template in templates}) == 3


def test_arrays_describe_every_template(templates, described):
    assert len(templates) == 3
    assert templates.phase_index.tolist() == [0, 0, 1]
    assert templates.capacity_req_per_s.tolist() == [1.0, 2.0, 3.0]
    assert templates.config_counts.tolist() == [[1, 0], [0, 1], [2, 1]]
    assert described == []


def test_a_template_has_its_stages_in_order(templates):
    template = templates[2]
    assert template.phase is Phase.DECODE
    assert template.stages == (StagePlacement(4, (L4,)), StagePlacement(5, (A10G, A10G)))
    assert template.config_counts == Counter({A10G: 2, L4: 1})
    assert template.configs == (L4, A10G, A10G)
    assert template.gpu_count == 2 * 4 + 2
    assert template.capacity_req_per_s == 3.0


def test_a_template_is_built_once(templates, described):
    assert templates[2] is templates[-1] is templates[0:3][2]
    assert len(described) == 3


def test_a_list_can_be_walked_and_ends(templates):
    assert [t.capacity_req_per_s for t in templates] == [1.0, 2.0, 3.0]
    for index in (3, -4):
        with pytest.raises(IndexError, match=f"template {index} of 3"):
            templates[index]


def test_a_list_without_phases_or_placements_is_empty():
    assert list(TemplateList("m", "targets", CONFIGS, [])) == []
    assert TemplateList("m", "targets", CONFIGS, []).config_counts.shape == (0, 2)
    assert len(join_placements([])) == 0


def test_renumbering_leaves_out_what_the_new_list_lacks():
    before = placements((1.0, [0], [0], [9]), (2.0, [1], [0], [9]), (3.0, [0, 1], [0, 1], [4, 5]))
    after = before.renumbered(np.array([NO_NODE, 0], dtype=np.uint8))
    assert after.capacity_req_per_s.tolist() == [2.0]
    assert after.nodes.tolist() == [[0] + [NO_NODE] * 5]
