"""Any decoder-only ``config.json``, and a clear refusal of what cannot be represented."""

import json

import pytest

from coral_solver.catalog import model_arch, model_from_config_file
from coral_solver.domain.errors import CatalogError
from coral_solver.domain.hardware import Precision

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "rope_theta": 500000.0,
}
GPT_OSS = LLAMA | {
    "architectures": ["GptOssForCausalLM"],
    "num_hidden_layers": 24,
    "hidden_size": 2880,
    "num_attention_heads": 64,
    "head_dim": 64,
    "intermediate_size": 2880,
    "num_local_experts": 32,
    "num_experts_per_tok": 4,
    "sliding_window": 128,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
    "attention_bias": True,
    "quantization_config": {"quant_method": "mxfp4"},
    "vocab_size": 201088,
}


@pytest.fixture
def write(tmp_path):
    def _write(**config):
        folder = tmp_path / "my-model"
        folder.mkdir(exist_ok=True)
        path = folder / "config.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        return path

    return _write


def test_a_llama_config_equals_the_catalogue_entry(write):
    read = model_from_config_file(write(**LLAMA), name="llama-3.1-8b")
    known = model_arch("llama-3.1-8b")
    for field in type(known).__dataclass_fields__:
        if field not in ("hub_id", "source"):
            assert getattr(read, field) == getattr(known, field), field


def test_a_gpt_oss_config_equals_the_catalogue_entry(write):
    read = model_from_config_file(write(**GPT_OSS), name="gpt-oss-20b")
    known = model_arch("gpt-oss-20b")
    for field in type(known).__dataclass_fields__:
        if field not in ("hub_id", "source"):
            assert getattr(read, field) == getattr(known, field), field


def test_the_name_is_the_folder_and_a_json_path_is_a_model_name(write):
    assert model_arch(str(write(**LLAMA))).name == "my-model"


@pytest.mark.parametrize(
    ("changes", "field", "expected"),
    [
        ({"num_key_value_heads": None}, "kv_heads", 32),
        ({"head_dim": 64}, "head_dim", 64),
        ({"architectures": ["Qwen2ForCausalLM"]}, "attention_bias", True),
        (
            {"architectures": ["GemmaForCausalLM"], "tie_word_embeddings": None},
            "tied_embeddings",
            1,
        ),
        ({"tie_word_embeddings": None}, "tied_embeddings", False),
        ({"torch_dtype": None, "dtype": "float16"}, "native_precision", Precision.FP16),
        ({"torch_dtype": "float32"}, "native_precision", Precision.BF16),
        ({"quantization_config": {"quant_method": "fp8"}}, "native_precision", Precision.FP8),
        (
            {"quantization_config": {"quant_method": "modelopt", "quant_algo": "FP8"}},
            "native_precision",
            Precision.FP8,
        ),
        (
            {
                "quantization_config": {
                    "quant_method": "compressed-tensors",
                    "config_groups": {"group_0": {"weights": {"type": "float", "num_bits": 8}}},
                }
            },
            "native_precision",
            Precision.FP8,
        ),
        # Mistral 7B v0.1: every layer slides.
        ({"architectures": ["MistralForCausalLM"], "sliding_window": 4096}, "sliding_layers", 32),
        # Qwen2 carries a window that it does not use.
        ({"sliding_window": 4096, "use_sliding_window": False}, "sliding_layers", 0),
        (
            {
                "architectures": ["Qwen2ForCausalLM"],
                "sliding_window": 4096,
                "use_sliding_window": True,
                "max_window_layers": 28,
            },
            "sliding_layers",
            4,  # 32 - 28
        ),
        # A window as long as the context is none.
        ({"sliding_window": 262144}, "sliding_window_tokens", 0),
        ({"architectures": ["Gemma2ForCausalLM"], "sliding_window": 4096}, "sliding_layers", 16),
        # Every sixth layer of 32 sees everything: 5 do, 27 slide.
        ({"architectures": ["Gemma3ForCausalLM"], "sliding_window": 1024}, "sliding_layers", 27),
        (
            {
                "architectures": ["MixtralForCausalLM"],
                "num_local_experts": 8,
                "num_experts_per_tok": 2,
            },
            "moe_intermediate_size",
            14336,
        ),
        (
            {
                "architectures": ["Qwen3MoeForCausalLM"],
                "num_experts": 128,
                "num_experts_per_tok": 8,
                "moe_intermediate_size": 1536,
                "decoder_sparse_step": 1,
                "mlp_only_layers": [],
            },
            "moe_intermediate_size",
            1536,
        ),
        ({"num_experts_per_tok": 2}, "experts_per_token", 0),
    ],
)
def test_what_the_architectures_mean_by_their_keys(write, changes, field, expected):
    assert getattr(model_from_config_file(write(**(LLAMA | changes))), field) == expected


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architectures": ["DeepseekV3ForCausalLM"], "kv_lora_rank": 512}, "latent attention"),
        ({"architectures": ["DeepseekV3ForCausalLM"]}, "latent attention"),
        ({"n_shared_experts": 1}, "shared experts"),
        ({"vision_config": {"depth": 24}}, "vision tower"),
        ({"layer_types": ["linear_attention"] * 32}, "layers of type linear_attention"),
        ({"mlp_only_layers": [0]}, "only some of its layers have experts"),
        ({"architectures": ["BertModel"]}, "BertModel is not one of .*LlamaForCausalLM"),
        ({"architectures": []}, "architecture not given"),
        ({"quantization_config": {"quant_method": "awq"}}, "quantised with awq"),
        ({"torch_dtype": "int8"}, "number format 'int8'"),
        ({"hidden_size": -1, "vocab_size": "many"}, "hidden_size: .*vocab_size: "),
        ({"num_key_value_heads": 5}, "5 does not divide"),
        ({"architectures": ["MixtralForCausalLM"], "num_local_experts": 8}, "num_experts_per_tok"),
    ],
)
def test_what_cannot_be_represented_is_refused_in_words(write, changes, words):
    with pytest.raises(CatalogError, match=words) as caught:
        model_from_config_file(write(**(LLAMA | changes)))
    assert caught.value.reason == "UnsupportedModel"


@pytest.mark.parametrize(("text", "words"), [("{", "is not JSON"), ("[]", "not a JSON object")])
def test_a_file_that_is_no_config_is_refused(tmp_path, text, words):
    path = tmp_path / "config.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CatalogError, match=words):
        model_from_config_file(path)
    with pytest.raises(CatalogError, match="cannot be read: No such file"):
        model_from_config_file(tmp_path / "nothing.json")
