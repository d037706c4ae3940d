"""The capacity rules against the event simulation, which everything else rests on."""

from __future__ import annotations

import numpy as np
import pytest
from deployments import config, deploy, served, simulated
from event_simulation import engine

from coral_solver.catalog import gpu_type
from coral_solver.domain.workload import Phase
from coral_solver.performance.capacity import separable_tables
from coral_solver.performance.steps import step_model
from coral_solver.performance.tables import StageRole

QWEN = {"ttft_s": 1.6, "tpot_s": 0.1, "input_tokens": 600, "output_tokens": 300}
PHI = {"ttft_s": 1.2, "tpot_s": 0.06, "input_tokens": 1155, "output_tokens": 211}
CODE = {"ttft_s": 0.9, "tpot_s": 0.03, "input_tokens": 2048, "output_tokens": 28}
LONG_PROMPTS = {"ttft_s": 2.0, "tpot_s": 0.05, "input_tokens": 8000, "output_tokens": 200}
SHORT_PROMPTS = {"ttft_s": 0.5, "tpot_s": 0.03, "input_tokens": 100, "output_tokens": 400}

CASES = {
    "dense": ("qwen3-32b", QWEN, Phase.WHOLE, ["L40S"], 4, None),
    "dense, 2 stages": ("qwen3-32b", QWEN, Phase.WHOLE, ["L40S", "L40S"], 4, None),
    "dense, 2 unlike stages": ("qwen3-32b", QWEN, Phase.WHOLE, ["L4", "L40S"], 4, [16, 48]),
    "dense, bursts": ("qwen3-32b", QWEN | {"burstiness": 4.0}, Phase.WHOLE, ["L40S"], 4, None),
    "dense, bursts, 2 stages": (
        "qwen3-32b",
        QWEN | {"burstiness": 4.0},
        Phase.WHOLE,
        ["L40S", "L40S"],
        4,
        None,
    ),
    "KV heads not a power of two": ("phi-4-14b", PHI, Phase.WHOLE, ["L40S"], 2, None),
    "experts": ("gpt-oss-120b", PHI | {"tpot_s": 0.04}, Phase.WHOLE, ["H100"], 2, None),
    "experts, 2 stages": (
        "gpt-oss-120b",
        PHI | {"tpot_s": 0.04},
        Phase.WHOLE,
        ["H100", "H100"],
        1,
        None,
    ),
    "experts, code": ("gpt-oss-20b", CODE, Phase.WHOLE, ["H100"], 1, None),
    "long prompts": ("llama-3.1-8b", LONG_PROMPTS, Phase.WHOLE, ["H100"], 1, None),
    "long prompts, 2 stages": (
        "llama-3.1-8b",
        LONG_PROMPTS,
        Phase.WHOLE,
        ["H100", "H100"],
        1,
        None,
    ),
    "short prompts": ("llama-3.1-8b", SHORT_PROMPTS, Phase.WHOLE, ["A100-80GB"], 1, None),
    "even lengths": ("qwen3-32b", QWEN | {"cv": 0.3}, Phase.WHOLE, ["H100"], 2, None),
    "prefill": ("qwen3-32b", QWEN, Phase.PREFILL, ["L40S"], 4, None),
    "prefill, 2 stages": ("gpt-oss-20b", CODE, Phase.PREFILL, ["L40S", "L40S"], 2, None),
    "decode": ("phi-4-14b", PHI, Phase.DECODE, ["L40S"], 2, None),
    "decode, bursts": (
        "qwen3-32b",
        QWEN | {"burstiness": 4.0},
        Phase.DECODE,
        ["L40S"],
        4,
        None,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_simulation_meets_the_attainment_at_the_capacity_and_not_far_above_it(name):
    model_name, traffic, phase, gpus, tensor_parallel, layers = CASES[name]
    model = served(model_name, **traffic)
    deployment = deploy(model, phase, gpus, tensor_parallel, layers)
    assert deployment is not None
    # Two seeds of 2,500 requests leave about 1 % of noise; two-moment queueing formulas a bit more.
    assert deployment.simulated(0.97).attainment >= model.slo.attainment - 0.02
    assert deployment.simulated(1.35, seeds=(1,)).attainment < model.slo.attainment


@pytest.mark.parametrize("name", ["dense", "experts", "long prompts"])
def test_predicted_latencies_bound_those_of_the_simulation_without_being_far_off(name):
    model_name, traffic, phase, gpus, tensor_parallel, layers = CASES[name]
    model = served(model_name, **traffic)
    deployment = deploy(model, phase, gpus, tensor_parallel, layers)
    assert deployment is not None
    result = deployment.simulated(0.97)
    prediction = deployment.prediction
    # The prediction is a 95th percentile, the simulation's figure a mean.
    assert result.mean_tpot_s < prediction.tpot_s <= model.slo.tpot_s
    assert result.mean_tpot_s > 0.3 * prediction.tpot_s
    assert result.mean_ttft_s < prediction.ttft_s <= model.slo.ttft_s


def test_where_the_kv_cache_limits_the_batch_nothing_is_preempted_at_the_capacity():
    traffic = {"ttft_s": 4.0, "tpot_s": 0.15, "input_tokens": 1500, "output_tokens": 1500}
    model = served("qwen3-32b", **traffic)
    deployment = deploy(model, Phase.WHOLE, ["A100-80GB"], 1)
    assert deployment is not None
    # 65.5 GB of weights leave about 8 of 76 GB; a sequence holds about 3000 tokens of 262 kB.
    assert deployment.settings.max_num_seqs <= 8
    assert deployment.simulated(0.97, requests=1000).preempted_share < 0.03


@pytest.mark.parametrize(
    ("model_name", "traffic", "gpu", "tensor_parallel"),
    [("qwen3-32b", QWEN, "L40S", 4), ("phi-4-14b", PHI, "H100", 1)],
)
def test_the_paper_rule_at_full_utilisation_misses_the_attainment(
    model_name, traffic, gpu, tensor_parallel
):
    model = served(model_name, **traffic)
    tables = separable_tables(model, Phase.WHOLE, [config(gpu, tensor_parallel)], 1)
    rate = tables.rate_req_per_s[0, StageRole.ONLY, 0, model.arch.layers]
    operator = deploy(model, Phase.WHOLE, [gpu], tensor_parallel)
    assert operator is not None
    assert rate > operator.capacity_req_per_s
    steps = step_model(
        model.arch,
        gpu_type(gpu),
        precision=model.precision,
        tensor_parallel=tensor_parallel,
    )
    generous = engine([steps], [model.arch.layers], max_num_seqs=1024, budget_tokens=8192)
    result = simulated(model, generous, float(rate), requests=2500, seeds=(1,))
    assert result.attainment < model.slo.attainment - 0.1


def test_the_capacity_of_a_placement_does_not_depend_on_what_else_is_on_offer():
    model = served("qwen3-32b", **QWEN)
    alone = deploy(model, Phase.WHOLE, ["L40S", "L40S"], 4)
    among = deploy(model, Phase.WHOLE, ["L40S", "L40S"], 4, others=("A10G", "L4", "H100"))
    assert alone is not None
    assert among is not None
    assert among.capacity_req_per_s == alone.capacity_req_per_s
    assert np.array_equal(among.settings.layers_per_stage, alone.settings.layers_per_stage)
