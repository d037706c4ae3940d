"""What the search space holds, and what it may leave out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from tests.unit.allocation.support import (
    FakeSource,
    config,
    model,
    pool,
    problem,
    running,
    source,
    template,
)

from coral_solver.allocation.columns import build_space
from coral_solver.allocation.options import AllocationOptions
from coral_solver.allocation.template_table import homogeneous_templates, tables_by_phase
from coral_solver.domain.hardware import CapacityKind
from coral_solver.domain.workload import Phase, ServingMode

L4, L4X2, L4X4, T4 = config("L4"), config("L4", 2), config("L4", 4), config("T4")


def space_of(models, pools, *templates, in_force=(), **options):
    given = problem(models, sorted(pools, key=lambda p: p.key), in_force=in_force)
    return build_space(given, source(*templates), AllocationOptions(**options))


def kinds(space):
    return {(c.template, c.region, c.site_factor) for c in space.columns}


def test_a_column_is_a_template_in_a_region_that_has_the_gpus():
    one, mixed = template("a", 1, L4), template("a", 3, L4, T4)
    pools = [pool("L4", 1, [1]), pool("L4", 1, [1], region="r2"), pool("T4", 1, [1], region="r2")]
    space = space_of([model(demand=9)], pools, one, mixed)
    assert kinds(space) == {(one, "r1", 1.0), (one, "r2", 1.0), (mixed, "r2", 1.0)}


def test_what_does_not_fit_on_the_free_gpus_is_left_out():
    big, small = template("a", 5, L4X4), template("a", 1, L4X2)
    # Four free GPUs, but two a node; and only one slice of two beside the single.
    space = space_of([model(demand=9)], [pool("L4", 4, [2, 1])], big, small)
    assert {c.template for c in space.columns} == {small}
    assert not space_of([model(demand=9)], [pool("L4", 4, [2, 1])], big).placeable


def test_capacity_beyond_the_target_makes_no_difference():
    one, two = template("a", 1, L4), template("a", 3, L4X2)
    pools = [pool("L4", 2, [2])]
    assert {c.template for c in space_of([model(demand=3)], pools, one, two).columns} == {one, two}
    # For a demand of 1 the larger one carries no more than the smaller.
    two_gpus = template("a", 3, L4, L4)
    assert {c.template for c in space_of([model(demand=1)], pools, one, two_gpus).columns} == {one}
    headroom = model(demand=1, headroom=1.5)
    kept = {c.template for c in space_of([headroom], pools, one, two_gpus).columns}
    assert kept == {one, two_gpus}


def test_a_slow_site_keeps_what_a_fast_one_could_do_without():
    # At a factor of 0.5 the small one carries 0.45 of the demand of 1, the large one all of it.
    one, two = template("a", 0.9, L4), template("a", 2.2, L4, L4)
    slow = [pool("L4", 2, [2], site_factor=0.5)]
    assert {c.template for c in space_of([model()], slow, one, two).columns} == {one, two}


def test_a_lower_site_factor_is_a_column_of_its_own_only_if_it_opens_more_pools():
    one = template("a", 0.4, L4)
    pools = [
        pool("L4", 1, [1]),
        pool("L4", 1, [1], kind=CapacityKind.SPOT, site_factor=0.9),
        pool("T4", 1, [1], site_factor=0.5),
    ]
    space = space_of([model()], pools, one)
    assert kinds(space) == {(one, "r1", 1.0), (one, "r1", 0.9)}
    assert [c.capacity_req_per_s for c in space.columns] == pytest.approx([0.4, 0.36])
    # The column of factor 0.9 may draw from both pools, that of 1.0 from one.
    assert len(space.draws) == 3


def test_a_phase_without_a_partner_in_its_region_is_left_out():
    prefill = template("a", 1, L4, phase=Phase.PREFILL)
    decode = template("a", 1, T4, phase=Phase.DECODE)
    both = ServingMode.DISAGGREGATED
    pools = [pool("L4", 1, [1]), pool("L4", 1, [1], region="r2"), pool("T4", 1, [1], region="r2")]
    space = space_of([model(serving=both)], pools, prefill, decode)
    assert {c.region for c in space.columns} == {"r2"}
    summed = space_of([model(serving=both)], pools, prefill, decode, sum_regions=True)
    assert {c.region for c in summed.columns} == {"r1", "r2"}


def test_models_that_want_nothing_ask_the_source_for_nothing():
    class Unused(FakeSource):
        def templates(self, model, configs):
            raise AssertionError("not needed")

    given = problem([model(demand=0)], [pool("L4", 1, [1])])
    assert not build_space(given, Unused(()), AllocationOptions()).columns


def test_an_instance_in_force_takes_the_newest_prediction_of_its_template():
    l4 = pool("L4", 1, [1])
    stale = template("a", 9, L4)
    fresh = template("a", 1, L4)
    assert stale.id == fresh.id
    old = running("a-1", stale, l4, l4.nodes[0].name)
    space = space_of([model(demand=2)], [l4], fresh, in_force=[old])
    assert space.keeps[0].capacity_req_per_s == 1
    assert space.keeps[0].template is fresh


def test_instances_alone_on_equal_nodes_are_one_class():
    l4 = pool("L4", 4, [4, 4, 4, 2])
    what = template("a", 1, L4X2)
    old = [running(f"a-{i}", what, l4, node.name) for i, node in enumerate(l4.nodes)]
    old.append(running("a-9", what, l4, l4.nodes[2].name))  # shares node 2 with a-2
    space = space_of([model(demand=9)], [l4], what, in_force=old)
    assert [[m.instance.name for m in keep.members] for keep in space.keeps] == [
        ["a-0", "a-1"],
        ["a-2", "a-9"],
        ["a-3"],
    ]


def test_an_instance_that_overlaps_itself_beyond_its_node_cannot_stay():
    l4 = pool("L4", 4, [2])
    what = template("a", 1, L4X2, L4X2)
    old = running("a-1", what, l4, l4.nodes[0].name, l4.nodes[0].name)
    assert not space_of([model()], [l4], what, in_force=[old]).keeps


@dataclass
class ArrayList(list):
    """A list that has the library's arrays too."""

    configs: tuple
    phases: tuple
    phase_index: np.ndarray
    capacity_req_per_s: np.ndarray
    config_counts: np.ndarray


def test_arrays_of_a_library_mean_the_same_as_its_objects():
    templates = [
        template("a", 1, L4),
        template("a", 2, L4, T4),
        template("a", 3, T4, T4, phase=Phase.DECODE),
        template("a", 0, L4X2, phase=Phase.PREFILL),
    ]
    arrays = ArrayList(
        configs=(T4, L4, L4X2),
        phases=(Phase.WHOLE, Phase.DECODE, Phase.PREFILL),
        phase_index=np.array([0, 0, 1, 2], dtype=np.int8),
        capacity_req_per_s=np.array([1.0, 2.0, 3.0, 0.0]),
        config_counts=np.array([[0, 1, 0], [1, 1, 0], [2, 0, 0], [0, 0, 1]], dtype=np.uint8),
    )
    arrays.extend(templates)
    configs = (L4, L4X2, T4)
    from_list = tables_by_phase(templates, configs)
    from_arrays = tables_by_phase(arrays, configs)
    assert list(from_list) == list(from_arrays) == [Phase.DECODE, Phase.WHOLE]
    for phase, table in from_list.items():
        assert table.rows.tolist() == from_arrays[phase].rows.tolist()
        assert table.counts.tolist() == from_arrays[phase].counts.tolist()
    assert homogeneous_templates(arrays) == homogeneous_templates(templates)
    assert len(homogeneous_templates(arrays)) == 3


def test_forbidden_gpu_types_are_left_out_even_if_the_source_gives_them():
    class Careless(FakeSource):
        def templates(self, model, configs):
            return self.given

    only_t4 = replace(model(), denied_gpus=frozenset({"L4"}))
    given = problem([only_t4], [pool("L4", 1, [1]), pool("T4", 1, [1])])
    offered = Careless((template("a", 1, L4), template("a", 1, T4, phase=Phase.DECODE)))
    space = build_space(given, offered, AllocationOptions())
    assert not space.columns
    assert not space.placeable
