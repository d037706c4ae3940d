"""What an engine pod asks of its node."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from coral_solver.performance.memory import GIB, weight_bytes

if TYPE_CHECKING:
    from coral_operator.children.member import Member

PROCESS_GIB = 4.0
"""API server and engine core: 1.1 GiB were seen for a tiny model; tokenisers and CUDA add to it."""

WORKER_GIB = 2.0
"""Worker process of one GPU: 1.1 GiB were seen without CUDA's own host memory."""

SHARED_GIB = 1.0
"""What a pod usually has in ``/dev/shm``."""

HOST_SHARE_OF_WEIGHTS = 1 / 8
"""Host memory for weights on their way to the GPU, over their size (assumption).

Files are mapped and their pages can be dropped; buffers and repacked tensors cannot.
"""


def container_resources(member: Member) -> dict[str, Any]:
    """Return requests and limits of a container.

    GPUs are limited, CPU and memory are only requested: loading weights takes all of both that is
    free. The smallest cloud nodes with one GPU have 4 cores and 16 GiB.
    """
    wanted = member.spec.pod_template.resources
    gpus = member.config.gpu_count
    resource = member.gpu.device_resource
    share = member.engine.layers_per_stage[member.stage] / member.model.arch.layers
    weights_gib = weight_bytes(member.model.arch, member.model.precision) * share / GIB
    memory_gib = math.ceil(
        PROCESS_GIB + WORKER_GIB * gpus + SHARED_GIB + weights_gib * HOST_SHARE_OF_WEIGHTS
    )
    return {
        "limits": {resource: str(gpus)},
        "requests": {
            # A worker per GPU waits busily; the processes beside them share one more core.
            "cpu": wanted.cpu or str(gpus + 1),
            "memory": wanted.memory or f"{memory_gib}Gi",
            resource: str(gpus),
        },
    }


def shared_memory_size(member: Member) -> str:
    """Return the bound on ``/dev/shm``, which ranks exchange tensors and batches through.

    Kubernetes gives 64 MiB by default, in which NCCL does not start.
    """
    return f"{4 + 2 * member.config.gpu_count}Gi"
