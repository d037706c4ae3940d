"""The argument list of vLLM for each kind of engine pod."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from coral_operator.children.timing import SHUTDOWN_TIMEOUT_S
from coral_solver.domain.hardware import Precision
from coral_solver.domain.workload import Phase

if TYPE_CHECKING:
    from coral_operator.children.member import Member

HTTP_PORT = 8000
MASTER_PORT = 29501
"""Default of vLLM's ``--master-port``; said in full because Services and policies repeat it."""

MODEL_PATH = "/model"
"""Where a claim or an image with weights is mounted."""

KV_ROLES = {Phase.PREFILL: "kv_producer", Phase.DECODE: "kv_consumer"}


def model_argument(member: Member) -> str:
    """Return vLLM's model: a hub id, or a folder of the mounted claim or image."""
    source = member.spec.source
    if source.hugging_face is not None:
        return source.hugging_face
    mounted = source.pvc or source.image
    path = mounted.path if mounted is not None else ""
    return f"{MODEL_PATH}/{path}".rstrip("/")


def engine_args(member: Member) -> tuple[str, ...]:
    """Return the arguments of ``vllm serve`` for one stage.

    Every stage of an instance gets the same list but for its rank. The user's own arguments come
    last; ``engine_problems`` has refused those that would undo a planned one.
    """
    engine = member.engine
    args = [model_argument(member), "--served-model-name", member.spec.name]
    if member.spec.source.hugging_face is not None and member.spec.revision is not None:
        args += ["--revision", member.spec.revision]
    args += ["--dtype", compute_dtype(member)]
    wanted, native = member.model.precision, member.model.arch.native_precision
    if wanted is Precision.FP8 and native is not Precision.FP8:
        # Plain `fp8` is for weights that are published in fp8; for others it is deprecated.
        args += ["--quantization", "fp8_per_tensor"]
    args += [
        "--max-model-len",
        str(engine.max_model_len_tokens),
        "--max-num-seqs",
        str(engine.max_num_seqs),
        "--max-num-batched-tokens",
        str(engine.max_num_batched_tokens),
        "--gpu-memory-utilization",
        f"{engine.gpu_memory_utilization:g}",
        "--tensor-parallel-size",
        str(engine.tensor_parallel),
        "--pipeline-parallel-size",
        str(engine.pipeline_parallel),
    ]
    if engine.tensor_parallel * engine.pipeline_parallel > 1:
        args += ["--distributed-executor-backend", "mp"]
    if member.stages > 1:
        args += [
            "--nnodes",
            str(member.stages),
            "--node-rank",
            str(member.stage),
            "--master-addr",
            member.leader_host,
            "--master-port",
            str(MASTER_PORT),
        ]
    if not member.is_leader:
        args.append("--headless")
    if member.phase in KV_ROLES:
        transfer = {"kv_connector": "NixlConnector", "kv_role": KV_ROLES[member.phase]}
        args += ["--kv-transfer-config", json.dumps(transfer, separators=(",", ":"))]
    args += [
        "--port",
        str(HTTP_PORT),
        "--disable-access-log-for-endpoints",
        "/health,/metrics",
        "--shutdown-timeout",
        str(SHUTDOWN_TIMEOUT_S),
    ]
    return (*args, *member.spec.engine.args)


def compute_dtype(member: Member) -> str:
    """Return the format of activations: the same on all stages, since they hand them on.

    GPUs before compute capability 8.0 have no bf16.
    """
    configs = (stage.configs[0] for stage in member.instance.template.stages)
    gpus = (member.settings.gpu_types[config.gpu] for config in configs)
    has_bf16 = all(Precision.BF16 in gpu.flops_per_s for gpu in gpus)
    return "bfloat16" if has_bf16 and member.model.precision is not Precision.FP16 else "float16"
