"""Refuse a user's engine arguments and variables that contradict what the plan decides."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coral_api.multillmservice import ModelSpec

_PLAN = "the plan decides it"
_POD = "the operator sets it for the pod"
_PRECISION = "set models[].precision instead"
_REVISION = "set models[].revision instead"

OWNED_FLAGS = {
    "model": "set models[].source instead",
    "served-model-name": "clients ask for models[].name",
    "revision": _REVISION,
    "tokenizer-revision": _REVISION,
    "code-revision": _REVISION,
    "hf-token": "set podTemplate.hubTokenSecret instead",
    "download-dir": "set podTemplate.cache instead",
    "dtype": _PRECISION,
    "quantization": _PRECISION,
    "quantization-config": _PRECISION,
    "kv-cache-dtype": _PLAN,
    "max-model-len": "set models[].maxModelLenTokens instead",
    "max-num-seqs": _PLAN,
    "max-num-active-seqs": _PLAN,
    "max-num-batched-tokens": _PLAN,
    "max-num-scheduled-tokens": _PLAN,
    "enable-chunked-prefill": _PLAN,
    "gpu-memory-utilization": _PLAN,
    "device-memory-utilization": _PLAN,
    "kv-cache-memory-bytes": _PLAN,
    "num-gpu-blocks-override": _PLAN,
    "tensor-parallel-size": _PLAN,
    "pipeline-parallel-size": _PLAN,
    "prefill-context-parallel-size": _PLAN,
    "decode-context-parallel-size": _PLAN,
    "data-parallel-size": _PLAN,
    "data-parallel-size-local": _PLAN,
    "data-parallel-rank": _PLAN,
    "data-parallel-start-rank": _PLAN,
    "data-parallel-address": _PLAN,
    "data-parallel-rpc-port": _PLAN,
    "data-parallel-backend": _PLAN,
    "data-parallel-hybrid-lb": _PLAN,
    "data-parallel-external-lb": _PLAN,
    "data-parallel-multi-port-external-lb": _PLAN,
    "distributed-executor-backend": _PLAN,
    "nnodes": _PLAN,
    "node-rank": _PLAN,
    "master-addr": _PLAN,
    "master-port": _PLAN,
    "headless": _PLAN,
    "device-ids": _PLAN,
    "kv-transfer-config": _PLAN,
    "config": "give the arguments one by one, so that they can be checked",
    "host": _POD,
    "port": _POD,
    "uds": _POD,
    "grpc": _POD,
    "ssl-keyfile": "probes and routing use plain HTTP inside the cluster",
    "ssl-certfile": "probes and routing use plain HTTP inside the cluster",
    "api-server-count": _POD,
    "shutdown-timeout": _POD,
    "disable-access-log-for-endpoints": _POD,
}
"""Flags of vLLM (without dashes) that are not the user's, and what to do instead."""

_OWNED_SHORT = {
    "-tp": "tensor-parallel-size",
    "-pp": "pipeline-parallel-size",
    "-pcp": "prefill-context-parallel-size",
    "-dcp": "decode-context-parallel-size",
    "-dp": "data-parallel-size",
    "-dpl": "data-parallel-size-local",
    "-dpn": "data-parallel-rank",
    "-dpr": "data-parallel-start-rank",
    "-dpa": "data-parallel-address",
    "-dpp": "data-parallel-rpc-port",
    "-dpb": "data-parallel-backend",
    "-dph": "data-parallel-hybrid-lb",
    "-dpe": "data-parallel-external-lb",
    "-dpm": "data-parallel-multi-port-external-lb",
    "-n": "nnodes",
    "-r": "node-rank",
    "-q": "quantization",
    "-asc": "api-server-count",
}

_FREE = frozenset({"tokenizer", "-dc"})
"""Flags of vLLM that are the user's although their name begins a flag that is not."""

OWNED_VARIABLES = frozenset(
    {
        "CUDA_VISIBLE_DEVICES",
        "HF_HOME",
        "HF_HUB_OFFLINE",
        "HIP_VISIBLE_DEVICES",
        "NVIDIA_VISIBLE_DEVICES",
        "ROCR_VISIBLE_DEVICES",
        "VLLM_ENGINE_READY_TIMEOUT_S",
        "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS",
        "VLLM_HOST_IP",
        "VLLM_NIXL_SIDE_CHANNEL_HOST",
        "VLLM_NIXL_SIDE_CHANNEL_PORT",
        "VLLM_PP_LAYER_PARTITION",
    }
)
"""Variables that the operator or the device plugin sets."""


def engine_problems(spec: ModelSpec) -> tuple[str, ...]:
    """Return what ``engine.args`` and ``engine.env`` of a model contradict.

    vLLM takes the last of two equal flags, takes ``_`` for ``-``, and takes an unambiguous
    beginning of a flag for the flag; a user's flag could therefore undo a planned one in several
    spellings.

    Returns
    -------
    tuple of str
        One sentence per argument or variable, in the order given.
    """
    problems = []
    for argument in spec.engine.args:
        flag = _owned_flag(argument)
        if flag is not None:
            problems.append(
                f"engine.args: {argument!r} sets --{flag}; remove it: {OWNED_FLAGS[flag]}"
            )
    owned = OWNED_VARIABLES | ({"HF_TOKEN"} if spec.pod_template.hub_token_secret else set())
    problems.extend(
        f"engine.env: {variable.name} is set by the operator; remove it"
        for variable in spec.engine.env
        if variable.name in owned
    )
    return tuple(problems)


def _owned_flag(argument: str) -> str | None:
    """Return the owned flag that an argument sets or could be taken for, or None."""
    if argument.startswith("--"):
        name = re.split(r"[=.]", argument[2:], maxsplit=1)[0].replace("_", "-")
        for form in (name, name.removeprefix("no-")):
            if form in OWNED_FLAGS:
                return form
            if form not in _FREE:
                longer = [flag for flag in OWNED_FLAGS if flag.startswith(form)]
                if longer:
                    return min(longer)
        return None
    if not argument.startswith("-") or re.match(r"-[0-9.]", argument):
        return None
    name = argument.split("=", 1)[0]
    if name in _OWNED_SHORT:
        return _OWNED_SHORT[name]
    if name in _FREE:
        return None
    # A one-letter flag may have its value attached: -n2.
    matches = [
        flag
        for short, flag in _OWNED_SHORT.items()
        if short.startswith(name) or (len(short) == 2 and name.startswith(short))
    ]
    return min(matches, default=None)
