"""Reading of a Hugging Face ``config.json``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from coral_solver.domain.errors import CatalogError
from coral_solver.domain.hardware import Precision
from coral_solver.domain.workload import ModelArch

if TYPE_CHECKING:
    from pathlib import Path

_REASON = "UnsupportedModel"

_DENSE = (
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "Phi3ForCausalLM",
    "GemmaForCausalLM",
    "Gemma2ForCausalLM",
    "Gemma3ForCausalLM",
    "GraniteForCausalLM",
)
_MIXTURE = ("MixtralForCausalLM", "Qwen3MoeForCausalLM", "GptOssForCausalLM")

_UNREPRESENTABLE = {
    "kv_lora_rank": "its multi-head latent attention (MLA) keeps a compressed KV cache",
    "n_shared_experts": "it has shared experts",
    "shared_expert_intermediate_size": "it has shared experts",
    "vision_config": "it has a vision tower",
    "audio_config": "it has an audio tower",
    "ssm_cfg": "it has state-space layers",
    "mamba_d_state": "it has state-space layers",
    "linear_num_value_heads": "it has linear attention layers",
}
"""Keys of shapes that ``ModelArch`` has no words for."""

_UNREPRESENTABLE_ARCHITECTURES = {
    "DeepseekV2ForCausalLM": _UNREPRESENTABLE["kv_lora_rank"],
    "DeepseekV3ForCausalLM": _UNREPRESENTABLE["kv_lora_rank"],
}

_DTYPES = {
    "bfloat16": Precision.BF16,
    "float16": Precision.FP16,
    # vLLM serves 32-bit checkpoints in 16 bits.
    "float32": Precision.BF16,
}

_DEFAULT_WINDOW_PATTERN = {"Gemma2ForCausalLM": 2, "Gemma3ForCausalLM": 6}
"""Every n-th layer sees the whole context, the others a window (defaults of transformers)."""


class _Config(BaseModel):
    """The keys of ``config.json`` that matter; every other key is ignored."""

    model_config = ConfigDict(extra="ignore")

    num_hidden_layers: PositiveInt
    hidden_size: PositiveInt
    num_attention_heads: PositiveInt
    num_key_value_heads: PositiveInt | None = None
    head_dim: PositiveInt | None = None
    intermediate_size: PositiveInt
    vocab_size: PositiveInt
    max_position_embeddings: PositiveInt
    num_experts: int | None = Field(None, ge=0)
    num_local_experts: int | None = Field(None, ge=0)
    num_experts_per_tok: int | None = Field(None, ge=0)
    moe_intermediate_size: PositiveInt | None = None
    decoder_sparse_step: int | None = None
    mlp_only_layers: list[int] | None = None
    sliding_window: int | None = Field(None, ge=0)
    use_sliding_window: bool | None = None
    max_window_layers: int | None = Field(None, ge=0)
    sliding_window_pattern: PositiveInt | None = None
    layer_types: list[str] | None = None
    tie_word_embeddings: bool | None = None
    attention_bias: bool | None = None
    torch_dtype: str | None = None
    dtype: str | None = None
    quantization_config: dict[str, Any] | None = None


def model_from_config_file(path: Path, *, name: str | None = None) -> ModelArch:
    """Read the architecture of a decoder-only model from its ``config.json``.

    Parameters
    ----------
    path
        The file.
    name
        Name to give it; None: the name of the file's folder.

    Raises
    ------
    CatalogError
        If the file cannot be read, lacks a key, or describes a model whose shape or number format
        Coral cannot represent (reason ``UnsupportedModel``); every problem is named.
    """
    raw = _read(path)
    architectures = raw.get("architectures")
    architecture = (
        str(architectures[0]) if isinstance(architectures, list) and architectures else ""
    )
    problems = _shape_problems(architecture, raw)
    if problems:
        raise CatalogError(f"{path}: Coral cannot represent this model: {problems}", reason=_REASON)
    try:
        config = _Config.model_validate(raw)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
        )
        raise CatalogError(f"{path}: {faults}", reason=_REASON) from error
    precision = _native_precision(config, path)
    experts = config.num_experts or config.num_local_experts or 0
    experts_per_token = config.num_experts_per_tok or 0
    if architecture in _MIXTURE and not 0 < experts_per_token <= experts:
        raise CatalogError(
            f"{path}: {architecture} needs num_experts_per_tok within its number of experts",
            reason=_REASON,
        )
    mixture = architecture in _MIXTURE
    window, sliding_layers = _sliding(architecture, config)
    kv_heads = config.num_key_value_heads or config.num_attention_heads
    head_dim = config.head_dim or config.hidden_size // config.num_attention_heads
    if config.num_attention_heads % kv_heads:
        raise CatalogError(
            f"{path}: num_key_value_heads {kv_heads} does not divide num_attention_heads"
            f" {config.num_attention_heads}",
            reason=_REASON,
        )
    tied = config.tie_word_embeddings
    return ModelArch(
        name=name or path.resolve().parent.name,
        hub_id=None,
        layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        attention_heads=config.num_attention_heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        intermediate_size=config.intermediate_size,
        vocab_size=config.vocab_size,
        experts=experts if mixture else 0,
        experts_per_token=experts_per_token if mixture else 0,
        moe_intermediate_size=(
            (config.moe_intermediate_size or config.intermediate_size) if mixture else 0
        ),
        sliding_window_tokens=window,
        sliding_layers=sliding_layers,
        # Only Gemma ties them when the file is silent.
        tied_embeddings=architecture.startswith("Gemma") if tied is None else tied,
        # Qwen2 has biases on q, k and v without saying so.
        attention_bias=bool(config.attention_bias) or architecture == "Qwen2ForCausalLM",
        max_context_tokens=config.max_position_embeddings,
        native_precision=precision,
        source=str(path),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CatalogError(f"{path}: cannot be read: {error.strerror}", reason=_REASON) from error
    except ValueError as error:
        raise CatalogError(f"{path}: is not JSON: {error}", reason=_REASON) from error
    if not isinstance(raw, dict):
        raise CatalogError(f"{path}: is not a JSON object", reason=_REASON)
    return raw


def _shape_problems(architecture: str, raw: dict[str, Any]) -> str:
    """Return what the model has that ``ModelArch`` cannot say; empty: nothing."""
    problems = [text for key, text in _UNREPRESENTABLE.items() if raw.get(key)]
    if architecture in _UNREPRESENTABLE_ARCHITECTURES:
        problems.append(_UNREPRESENTABLE_ARCHITECTURES[architecture])
    types = raw.get("layer_types")
    if isinstance(types, list):
        strange = {str(kind) for kind in types} - {"full_attention", "sliding_attention"}
        problems.extend(f"it has layers of type {kind}" for kind in sorted(strange))
    if raw.get("mlp_only_layers") or raw.get("decoder_sparse_step") not in (None, 1):
        problems.append("only some of its layers have experts")
    if not problems and architecture not in (*_DENSE, *_MIXTURE):
        known = ", ".join(sorted((*_DENSE, *_MIXTURE)))
        problems.append(f"architecture {architecture or 'not given'} is not one of {known}")
    return "; ".join(dict.fromkeys(problems))


def _sliding(architecture: str, config: _Config) -> tuple[int, int]:
    """Return the window in tokens and the number of layers that have it."""
    window = config.sliding_window or 0
    if not 0 < window < config.max_position_embeddings or config.use_sliding_window is False:
        return 0, 0
    layers = config.num_hidden_layers
    if config.layer_types is not None:
        sliding = config.layer_types.count("sliding_attention")
    elif architecture in _DEFAULT_WINDOW_PATTERN:
        pattern = config.sliding_window_pattern or _DEFAULT_WINDOW_PATTERN[architecture]
        sliding = layers - layers // pattern
    elif architecture == "GptOssForCausalLM":
        sliding = (layers + 1) // 2
    elif config.max_window_layers is not None:
        # Qwen: the first max_window_layers see everything.
        sliding = max(layers - config.max_window_layers, 0)
    else:
        sliding = layers
    return (window, sliding) if sliding else (0, 0)


def _native_precision(config: _Config, path: Path) -> Precision:
    quantization = config.quantization_config
    if quantization is None:
        dtype = (config.torch_dtype or config.dtype or "bfloat16").removeprefix("torch.")
        if dtype not in _DTYPES:
            raise CatalogError(
                f"{path}: number format {dtype!r} is not one of {', '.join(_DTYPES)}",
                reason=_REASON,
            )
        return _DTYPES[dtype]
    method = str(quantization.get("quant_method", "")).lower()
    if method in ("fp8", "fbgemm_fp8") or _is_fp8(quantization):
        return Precision.FP8
    if method == "mxfp4":
        return Precision.MXFP4
    raise CatalogError(
        f"{path}: Coral cannot represent weights quantised with {method or 'an unnamed method'}:"
        f" serve a checkpoint in one of {', '.join(Precision)}",
        reason=_REASON,
    )


def _is_fp8(quantization: dict[str, Any]) -> bool:
    """Return whether ModelOpt or compressed-tensors says 8-bit floating-point weights."""
    if str(quantization.get("quant_algo", "")).upper() == "FP8":
        return True
    groups = quantization.get("config_groups")
    if not isinstance(groups, dict) or not groups:
        return False
    weights = [
        group.get("weights") if isinstance(group, dict) else None for group in groups.values()
    ]
    return all(
        isinstance(w, dict) and w.get("type") == "float" and w.get("num_bits") == 8 for w in weights
    )
