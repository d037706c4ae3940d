"""The library: what it shares, keeps, forgets and refuses; and its fit with the real model."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from coral_solver.catalog import model_arch
from coral_solver.domain.errors import InvalidInputError
from coral_solver.domain.hardware import CapacityKind, GpuPool, Link, NodeConfig, PoolKey
from coral_solver.domain.plan import PlanningProblem
from coral_solver.domain.template import PlacementSpace
from coral_solver.domain.workload import (
    LengthDistribution,
    Phase,
    ServedModel,
    ServingMode,
    Slo,
    Workload,
)
from coral_solver.performance import capacity
from coral_solver.performance.tables import SeparableTables
from coral_solver.templates import library as library_module
from coral_solver.templates.library import LibraryOptions, TemplateLibrary

L4, A10G, L40S = (
    [NodeConfig(gpu, n, Link.PCIE) for n in (1, 2, 4, 8)] for gpu in ("L4", "A10G", "L40S")
)
PAPER = LibraryOptions(space=PlacementSpace.PAPER, max_nodes=3)
VLLM = LibraryOptions(space=PlacementSpace.VLLM, max_nodes=3)


def served(**changes):
    defaults = {
        "id": "ns/service/chat",
        "arch": model_arch("phi-4-14b"),
        "slo": Slo(ttft_s=1.2, tpot_s=0.06),
        "workload": Workload(
            input_tokens=LengthDistribution.from_mean(1000.0),
            output_tokens=LengthDistribution.from_mean(200.0),
        ),
        "demand_req_per_s": 10.0,
        "serving": ServingMode.AGGREGATED,
    } | changes
    return ServedModel(precision=defaults["arch"].native_precision, **defaults)


@pytest.fixture
def searches(monkeypatch):
    """Replace the performance model by a small table; return the list of table requests."""
    requests = []

    def tables(model, phase, configs, max_stages):
        requests.append((model.id, phase, tuple(configs), max_stages))
        speed = [{"L4": 1.0, "A10G": 2.0, "L40S": 3.0}[c.gpu] * c.gpu_count for c in configs]
        layers = np.arange(model.arch.layers + 1)
        rates = np.array(speed)[:, None] * 40.0 / np.maximum(layers, 1)
        # Twelve layers a GPU: Phi-4's 40 need four GPUs or a pipeline.
        rates[layers > 12 * np.array([c.gpu_count for c in configs])[:, None]] = 0.0
        return SeparableTables(
            configs=tuple(configs),
            memory_gib=np.array([24.0 * c.gpu_count for c in configs]),
            weight_gib=30.0,
            rate_req_per_s=np.broadcast_to(
                rates, (max_stages, 4, len(configs), model.arch.layers + 1)
            ),
        )

    monkeypatch.setattr(capacity, "separable_tables", tables)
    return requests


def rows(templates):
    return [
        (template.phase, template.stages, template.capacity_req_per_s) for template in templates
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_nodes": 0}, "max_nodes is 0"),
        ({"max_nodes": 7, "space": PlacementSpace.PAPER}, "templates of 1 to 6"),
        ({"max_nodes": 13}, "templates of 1 to 12"),
        ({"rho": float("nan")}, "rho is nan"),
        ({"rho": 0.5}, "at least 1"),
    ],
)
def test_options_out_of_range_are_refused(values, message):
    with pytest.raises(InvalidInputError, match=message):
        LibraryOptions(**values)


def test_all_faults_of_the_options_are_told_at_once():
    with pytest.raises(InvalidInputError) as caught:
        LibraryOptions(max_nodes=0, rho=-1.0)
    assert len(caught.value.problems) == 2


def test_the_scope_says_what_is_covered():
    scope = TemplateLibrary(VLLM).scope
    for words in ("vllm placement space", "operator capacity rule", "at most 3", "at most 12"):
        assert words in scope


def test_templates_say_which_targets_they_were_made_for(searches):
    library = TemplateLibrary(PAPER)
    one = library.templates(served(), L4)
    two = library.templates(served(slo=Slo(ttft_s=1.2, tpot_s=0.05)), L4)
    assert {t.made_for for t in one} == {served().targets_digest}
    assert not {t.made_for for t in one} & {t.made_for for t in two}
    assert [t.id for t in one] == [t.id for t in two]  # pods do not depend on the targets


def test_what_carries_next_to_nothing_per_gpu_is_not_on_offer(monkeypatch):
    # Per GPU: A10G 0.9 %, L40S exactly 1 %, L4 100 % of the best.
    rates = {"L4": 1.0, "A10G": 0.009, "L40S": 0.01}

    def tables(model, phase, configs, max_stages):
        values = np.array([rates[c.gpu] * c.gpu_count for c in configs])[:, None]
        shape = (max_stages, 4, len(configs), model.arch.layers + 1)
        return SeparableTables(
            configs=tuple(configs),
            memory_gib=np.full(len(configs), 40.0),
            weight_gib=30.0,
            rate_req_per_s=np.broadcast_to(values, shape),
        )

    monkeypatch.setattr(capacity, "separable_tables", tables)
    library = TemplateLibrary(LibraryOptions(space=PlacementSpace.PAPER, max_nodes=1))
    offered = library.templates(served(), [*L4[:2], *A10G[:2], *L40S[:2]])
    assert {t.stages[0].configs[0] for t in offered} == {*L4[:2], *L40S[:2]}
    # Without the L4 the A10G are close to the best.
    offered = library.templates(served(), [*A10G[:2], *L40S[:2]])
    assert {t.stages[0].configs[0] for t in offered} == {*A10G[:2], *L40S[:2]}
    assert "less than 1% of the best" in library.scope


def test_a_models_templates_are_the_same_objects_every_time(searches):
    library = TemplateLibrary(PAPER)
    first = library.templates(served(), L4)
    assert library.templates(served(), list(reversed(L4))) is first
    assert first[5] is first[5]
    assert len(searches) == 1


def test_models_that_differ_only_in_demand_share_one_search(searches):
    library = TemplateLibrary(PAPER)
    one = library.templates(served(), L4)
    two = library.templates(
        served(id="ns/service/other", demand_req_per_s=0.5, headroom=0.3, priority=4), L4
    )
    assert len(searches) == 1
    assert rows(one) == rows(two)
    assert {t.model_id for t in two} == {"ns/service/other"}
    assert one[0].made_for == two[0].made_for


@pytest.mark.parametrize(
    "change",
    [
        {"slo": Slo(ttft_s=1.2, tpot_s=0.05)},
        {"arch": model_arch("qwen3-32b")},
        {"max_model_len_tokens": 4096},
        {
            "workload": Workload(
                input_tokens=LengthDistribution.from_mean(1000.0),
                output_tokens=LengthDistribution.from_mean(100.0),
            )
        },
    ],
)
def test_models_that_differ_in_what_counts_are_searched_each(change, searches):
    library = TemplateLibrary(PAPER)
    library.templates(served(), L4)
    library.templates(served(**change), L4)
    assert len(searches) == 2


def test_a_second_library_reads_what_the_first_one_wrote(tmp_path, searches):
    options = replace(PAPER, cache_dir=tmp_path)
    before = TemplateLibrary(options).templates(served(), L4)
    after = TemplateLibrary(options).templates(served(), L4)
    assert len(searches) == 1
    assert rows(before) == rows(after)


@pytest.mark.parametrize("options", [replace(PAPER, max_nodes=2), replace(PAPER, rho=11.0)])
def test_other_limits_do_not_read_the_file(options, tmp_path, searches):
    TemplateLibrary(replace(PAPER, cache_dir=tmp_path)).templates(served(), L4)
    TemplateLibrary(replace(options, cache_dir=tmp_path)).templates(served(), L4)
    assert len(searches) == 2


def test_other_code_does_not_read_the_file(tmp_path, searches, monkeypatch):
    options = replace(PAPER, cache_dir=tmp_path)
    TemplateLibrary(options).templates(served(), L4)
    monkeypatch.setattr(library_module, "code_fingerprint", lambda: "edited")
    TemplateLibrary(options).templates(served(), L4)
    assert len(searches) == 2


def test_a_damaged_file_is_searched_again_and_replaced(tmp_path, searches, caplog):
    options = replace(PAPER, cache_dir=tmp_path)
    before = rows(TemplateLibrary(options).templates(served(), L4))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:100])

    with caplog.at_level(logging.WARNING):
        assert rows(TemplateLibrary(options).templates(served(), L4)) == before
    assert "is damaged" in caplog.text
    assert len(searches) == 2

    TemplateLibrary(options).templates(served(), L4)
    assert len(searches) == 2


def test_losing_a_gpu_type_gives_what_a_new_search_would_give(searches):
    library = TemplateLibrary(PAPER)
    library.templates(served(), [*L4, *A10G])
    narrowed = library.templates(served(), A10G)
    assert len(searches) == 1

    fresh = TemplateLibrary(PAPER).templates(served(), A10G)
    assert len(searches) == 2
    assert narrowed.configs == fresh.configs == tuple(sorted(A10G))
    assert rows(narrowed) == rows(fresh)
    np.testing.assert_array_equal(narrowed.config_counts, fresh.config_counts)


def test_gpu_types_that_the_model_may_not_use_are_left_out(searches):
    library = TemplateLibrary(PAPER)
    denied = library.templates(served(denied_gpus=frozenset({"L4"})), [*L4, *A10G])
    allowed = library.templates(served(allowed_gpus=frozenset({"A10G"})), [*L4, *A10G])
    assert {config.gpu for config in denied.configs} == {"A10G"}
    assert rows(denied) == rows(allowed)
    assert len(searches) == 1


def test_a_model_that_may_use_nothing_on_offer_has_no_templates(searches):
    model = served(allowed_gpus=frozenset())
    assert list(TemplateLibrary(PAPER).templates(model, L4)) == []
    assert list(TemplateLibrary(VLLM).templates(model, L4)) == []


def test_memory_holds_a_bounded_number_of_libraries(searches, monkeypatch):
    monkeypatch.setattr(library_module, "KEPT_IN_MEMORY", 2)
    library = TemplateLibrary(PAPER)
    for tpot_s in (0.05, 0.06, 0.07, 0.05):
        library.templates(served(slo=Slo(ttft_s=1.2, tpot_s=tpot_s)), L4)
    assert len(searches) == 4


def test_each_serving_mode_has_its_phases(searches):
    library = TemplateLibrary(PAPER)
    for mode in ServingMode:
        templates = library.templates(served(serving=mode), L4)
        assert templates.phases == mode.phases
        assert {t.phase for t in templates} == set(mode.phases)


def pool(gpu, gpus_per_node):
    key = PoolKey(gpu, gpus_per_node, Link.PCIE, "here", CapacityKind.ON_DEMAND)
    return GpuPool(key=key, node_usd_per_hour=1.0)


def test_prepare_searches_each_model_that_wants_anything_once(searches):
    models = (
        served(),
        served(id="ns/service/twin"),
        served(id="ns/service/idle", slo=Slo(ttft_s=2.0, tpot_s=0.06), demand_req_per_s=0.0),
    )
    problem = PlanningProblem(models=models, pools=(pool("L4", 4), pool("A10G", 8)))
    library = TemplateLibrary(PAPER)
    reports = []

    library.prepare(problem, lambda done, total: reports.append((done, total)))

    # The paper's space takes whole nodes: 2 configurations, 2 + 3 + 4 multisets of 1 to 3 nodes.
    assert [request[2] for request in searches] == [(A10G[3], L4[2])]
    assert reports[-1] == (9, 9)
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)
    library.templates(models[1], [L4[2], A10G[3]])
    assert len(searches) == 1


def test_prepare_reports_what_it_finds_ready(searches):
    problem = PlanningProblem(models=(served(),), pools=(pool("L4", 4),))
    library = TemplateLibrary(PAPER)
    library.prepare(problem)
    reports = []
    library.prepare(problem, lambda done, total: reports.append((done, total)))
    assert reports == [(3, 3)]


@pytest.mark.parametrize("space", list(PlacementSpace))
def test_templates_of_the_real_model_hold_together(space):
    """Layers, capacity, counts and engine settings of every template agree with each other."""
    model = served(serving=ServingMode.AUTO)
    options = LibraryOptions(space=space, max_nodes=3)
    templates = TemplateLibrary(options).templates(model, [*L4, *L40S])

    assert len(templates) > 10
    for row, template in enumerate(templates):
        assert template.model_id == model.id
        assert sum(stage.layers for stage in template.stages) == model.arch.layers
        assert min(stage.layers for stage in template.stages) >= 1
        assert template.capacity_req_per_s == templates.capacity_req_per_s[row] > 0
        assert template.phase is templates.phases[templates.phase_index[row]]
        assert template.config_counts == {
            config: count
            for config, count in zip(
                templates.configs, templates.config_counts[row].tolist(), strict=True
            )
            if count
        }
        if space is PlacementSpace.PAPER:
            assert template.engine is None
        else:
            assert template.engine is not None
            assert all(len(stage.configs) == 1 for stage in template.stages)
            sizes = {stage.configs[0].gpu_count for stage in template.stages}
            assert sizes == {template.engine.tensor_parallel}
            layers = tuple(stage.layers for stage in template.stages)
            assert template.engine.layers_per_stage == layers
            assert template.engine.pipeline_parallel == len(layers)
            if template.phase is Phase.DECODE:
                assert len(layers) == 1


def test_the_vllm_space_keeps_its_templates_on_disk_too(tmp_path, monkeypatch):
    options = replace(VLLM, cache_dir=tmp_path)
    before = TemplateLibrary(options).templates(served(), L40S)
    monkeypatch.setattr(
        TemplateLibrary, "_search", lambda *_: pytest.fail("searched although it was on disk")
    )
    after = TemplateLibrary(options).templates(served(), L40S)
    assert len(before) > 0
    assert rows(before) == rows(after)
    assert [t.engine for t in before] == [t.engine for t in after]
    assert len({t.id for t in after}) == len(after)
