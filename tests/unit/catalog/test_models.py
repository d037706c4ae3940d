"""The model catalogue: shapes that add up to the published sizes, and names."""

import pytest

from coral_solver.catalog import model_arch, model_archs, published_parameters
from coral_solver.domain.errors import CatalogError
from coral_solver.domain.hardware import Precision

MEASURED_NAMES = {
    # As the measured points name them (data/measured).
    "Llama-2-70B": "llama-2-70b",
    "Llama-30B": "llama-30b",
    "Llama-3.1-70B": "llama-3-70b",
    "gpt-oss-120b": "gpt-oss-120b",
    "Meta-Llama-3-8B": "llama-3.1-8b",
    "Qwen3-32B": "qwen3-32b",
    "Mixtral-8x7B-v0.1": "mixtral-8x7b",
    "Llama-3.1-8B": "llama-3.1-8b",
    "Llama-3.1-8B-Instruct-FP8": "llama-3.1-8b",
    "Qwen2-72B": "qwen2-72b",
    "Llama-2-7B": "llama-2-7b",
    "Llama-3-8B": "llama-3.1-8b",
    "Llama-3-70B": "llama-3-70b",
    "Llama-3.3-70B": "llama-3-70b",
}


def parameters(arch):
    """Sum over the shapes: attention, feed-forward, router, embeddings and head, norms, biases."""
    h, d = arch.hidden_size, arch.head_dim
    q, kv = arch.attention_heads * d, arch.kv_heads * d
    attention = 2 * h * q + 2 * h * kv
    is_gpt_oss = arch.name.startswith("gpt-oss")
    if arch.attention_bias:
        attention += q + 2 * kv + (h if is_gpt_oss else 0)
    if arch.experts:
        feed_forward = arch.experts * 3 * h * arch.moe_intermediate_size + h * arch.experts
        if is_gpt_oss:
            feed_forward += arch.experts * (2 * arch.moe_intermediate_size + h)
    else:
        feed_forward = 3 * h * arch.intermediate_size
    norms = 2 * h + (2 * d if arch.name.startswith("qwen3") else 0)
    tables = (1 if arch.tied_embeddings else 2) * arch.vocab_size * h
    return arch.layers * (attention + feed_forward + norms) + tables + h


@pytest.mark.parametrize("arch", model_archs(), ids=lambda arch: arch.name)
def test_the_shape_adds_up_to_the_published_size(arch):
    assert parameters(arch) == pytest.approx(published_parameters(arch.name), rel=1e-6)


def test_names_of_the_measured_points_are_known():
    for name, expected in MEASURED_NAMES.items():
        assert model_arch(name).name == expected


@pytest.mark.parametrize("arch", model_archs(), ids=lambda arch: arch.name)
def test_every_entry_is_found_by_its_name_and_its_hub_id(arch):
    assert model_arch(arch.name) == arch
    assert model_arch(arch.hub_id) == arch
    assert model_arch(arch.hub_id.lower()) == arch


def test_a_checkpoint_brings_its_own_precision_and_context():
    fp8 = model_arch("Qwen/Qwen3-32B-FP8")
    assert (fp8.hub_id, fp8.native_precision) == ("Qwen/Qwen3-32B-FP8", Precision.FP8)
    assert fp8.layers == model_arch("qwen3-32b").layers
    assert model_arch("meta-llama/Meta-Llama-3-70B-Instruct").max_context_tokens == 8192
    assert model_arch("meta-llama/Llama-3.3-70B-Instruct").max_context_tokens == 131072


def test_an_unknown_model_gets_a_proposal_and_the_way_out():
    with pytest.raises(CatalogError, match=r"did you mean qwen3-32b.*config\.json") as caught:
        model_arch("qwen3-33b")
    assert caught.value.reason == "UnknownModel"
    with pytest.raises(CatalogError, match=r"known are .*phi-4-14b"):
        model_arch("zzzzzz")


def test_the_models_of_the_paper_are_there():
    paper = {"phi-4-14b", "gpt-oss-20b", "gpt-oss-120b", "qwen3-32b", "qwen3-235b-a22b"}
    assert paper | {"llama-3-70b"} <= {arch.name for arch in model_archs()}
