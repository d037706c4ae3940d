"""What GPU feature discovery and a cloud would say about nodes of well-known GPUs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuProduct:
    """One GPU as GPU feature discovery labels it.

    Parameters
    ----------
    product
        Value of ``nvidia.com/gpu.product``.
    memory_mib
        Value of ``nvidia.com/gpu.memory``: MiB per GPU.
    family
        Value of ``nvidia.com/gpu.family``: the architecture.
    compute_capability
        Major and minor number.
    is_mig_capable
        Whether the GPU can be split into MIG instances.
    """

    product: str
    memory_mib: int
    family: str
    compute_capability: tuple[int, int]
    is_mig_capable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What is around the GPUs of a rented node.

    Parameters
    ----------
    instance_type
        Value of ``node.kubernetes.io/instance-type``.
    num_cpus
        Virtual CPUs.
    memory_gib
        Main memory in GiB.
    """

    instance_type: str
    num_cpus: int
    memory_gib: int


def _hopper(product: str, memory_mib: int) -> GpuProduct:
    return GpuProduct(
        product=product,
        memory_mib=memory_mib,
        family="hopper",
        compute_capability=(9, 0),
        is_mig_capable=True,
    )


def _a100(product: str, memory_mib: int) -> GpuProduct:
    return GpuProduct(
        product=product,
        memory_mib=memory_mib,
        family="ampere",
        compute_capability=(8, 0),
        is_mig_capable=True,
    )


def _small(product: str, memory_mib: int, family: str, capability: tuple[int, int]) -> GpuProduct:
    return GpuProduct(
        product=product, memory_mib=memory_mib, family=family, compute_capability=capability
    )


GPU_PRODUCTS: dict[str, GpuProduct] = {
    "B200": GpuProduct(
        product="NVIDIA-B200",
        memory_mib=183359,
        family="blackwell",
        compute_capability=(10, 0),
        is_mig_capable=True,
    ),
    "H200": _hopper("NVIDIA-H200", 143771),
    "H100": _hopper("NVIDIA-H100-80GB-HBM3", 81559),
    "H100-PCIe": _hopper("NVIDIA-H100-PCIe", 81559),
    "H800": _hopper("NVIDIA-H800", 81559),
    "A100-80GB": _a100("NVIDIA-A100-SXM4-80GB", 81920),
    "A100-40GB": _a100("NVIDIA-A100-SXM4-40GB", 40960),
    "A800-80GB": _a100("NVIDIA-A800-SXM4-80GB", 81920),
    "L40S": _small("NVIDIA-L40S", 46068, "ada-lovelace", (8, 9)),
    "L4": _small("NVIDIA-L4", 23034, "ada-lovelace", (8, 9)),
    "A10G": _small("NVIDIA-A10G", 23028, "ampere", (8, 6)),
    "A10": _small("NVIDIA-A10", 23028, "ampere", (8, 6)),
    "T4": _small("Tesla-T4", 15360, "turing", (7, 5)),
    "V100": _small("Tesla-V100-SXM2-16GB", 16384, "volta", (7, 0)),
}
"""Well-known GPUs by the short name used on the command line and in `gpu_node`."""

_MACHINES: dict[tuple[str, int], Machine] = {
    ("B200", 8): Machine(instance_type="p6-b200.48xlarge", num_cpus=192, memory_gib=2048),
    ("H200", 8): Machine(instance_type="p5en.48xlarge", num_cpus=192, memory_gib=2048),
    ("H100", 8): Machine(instance_type="p5.48xlarge", num_cpus=192, memory_gib=2048),
    ("H100", 1): Machine(instance_type="p5.4xlarge", num_cpus=16, memory_gib=256),
    ("A100-80GB", 8): Machine(instance_type="p4de.24xlarge", num_cpus=96, memory_gib=1152),
    ("A100-40GB", 8): Machine(instance_type="p4d.24xlarge", num_cpus=96, memory_gib=1152),
    ("L40S", 1): Machine(instance_type="g6e.xlarge", num_cpus=4, memory_gib=32),
    ("L40S", 4): Machine(instance_type="g6e.12xlarge", num_cpus=48, memory_gib=384),
    ("L40S", 8): Machine(instance_type="g6e.48xlarge", num_cpus=192, memory_gib=1536),
    ("L4", 1): Machine(instance_type="g6.xlarge", num_cpus=4, memory_gib=16),
    ("L4", 4): Machine(instance_type="g6.12xlarge", num_cpus=48, memory_gib=192),
    ("L4", 8): Machine(instance_type="g6.48xlarge", num_cpus=192, memory_gib=768),
    ("A10G", 1): Machine(instance_type="g5.xlarge", num_cpus=4, memory_gib=16),
    ("A10G", 4): Machine(instance_type="g5.12xlarge", num_cpus=48, memory_gib=192),
    ("A10G", 8): Machine(instance_type="g5.48xlarge", num_cpus=192, memory_gib=768),
    ("T4", 1): Machine(instance_type="g4dn.xlarge", num_cpus=4, memory_gib=16),
    ("T4", 4): Machine(instance_type="g4dn.12xlarge", num_cpus=48, memory_gib=192),
    ("V100", 8): Machine(instance_type="p3.16xlarge", num_cpus=64, memory_gib=488),
}


def machine_for(gpu: str, num_gpus: int) -> Machine:
    """Return the machine that a cloud rents with these GPUs, or one made up by rule.

    Parameters
    ----------
    gpu
        Key of `GPU_PRODUCTS`.
    num_gpus
        GPUs in the node.
    """
    return _MACHINES.get(
        (gpu, num_gpus),
        Machine(
            instance_type=f"{gpu}-x{num_gpus}".lower(),
            num_cpus=12 * num_gpus,
            memory_gib=128 * num_gpus,
        ),
    )
