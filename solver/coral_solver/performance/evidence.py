"""How far a prediction can be trusted: an 80 % error bar from the nearest measured evidence.

Formulas with their names and the measured coverage: docs/model-performance.md, "Error bars".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from coral_solver.domain.hardware import Link, Precision
from coral_solver.performance.parameters import MEASURED_ROUTING, family_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coral_solver.domain.hardware import GpuType
    from coral_solver.domain.workload import ModelArch

# Half widths of 80 % bars of log(measured / predicted) of TPOT and throughput; independent ones
# add in squares. The first six are 80 % quantiles of left-out errors
# (benchmarks/performance_left_out.py), the others set by the tables of docs/model-performance.md.
WITHIN = 0.06
"""Left at a deployment that the parameters were fitted to: loads differ, repeats differ."""
WITHIN_EXPERTS = 0.10
"""The same at a mixture of experts that was not measured: the load decides what is read."""
OTHER_SPLIT = 0.04
"""Another tensor parallel size than the measured ones."""
OTHER_DENSE = 0.05
"""A dense model that was not measured."""
OTHER_EXPERTS = 0.19
"""A mixture of experts that was not measured: nobody knows how even its router is."""
OTHER_GPU = 0.06
"""A GPU type with served models of its own, but not this model."""
OTHER_ROUTING = 0.13
"""A mixture of experts whose router was measured in another size of the model."""
OPERATORS_ONLY = 0.12
"""A GPU type with operator times but no served model."""
LAYERS_ONLY = 0.20
"""A GPU type with layer times of 2023, or another board of a chip that was measured."""
DATA_SHEET_ONLY = 0.30
"""A GPU type with nothing but its data sheet."""
PIPELINE = 0.10
"""Stages: no pipeline of vLLM was measured."""
PCIE = 0.15
"""All-reduces over PCIe: known from one GPU type and another engine."""
WEIGHT_ONLY = 0.15
"""Weights in a format that the GPU has no units for."""

SIGMAS = 1.2816
"""Standard deviations of a normal variable that an 80 % interval reaches to either side."""

SERVED = ("H100", "H200")
SAME_CHIP = {"GH200": "H100", "H800": "H100", "A800": "A100"}
OPERATORS = ("A100", "L40S")
LAYERS = ("L4", "T4", "V100")

MEASURED_DEPLOYMENTS: Mapping[tuple[str, Precision], Mapping[str, tuple[int, ...]]] = (
    MappingProxyType(
        {
            ("qwen3-32b", Precision.BF16): {"H100": (2, 4, 8)},
            ("gpt-oss-120b", Precision.MXFP4): {"H100": (2, 4, 8), "H200": (1, 2, 4, 8)},
            ("llama-3-70b", Precision.FP8): {"H100": (2, 4, 8), "H200": (1, 2, 4, 8)},
        }
    )
)
"""Tensor parallel sizes with measured vLLM points that the parameters were fitted to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """Factors on the model's times for one deployment, and how far it can be trusted then.

    Attributes
    ----------
    compute_time_factor
        On all times that FLOPs take: prompts, and decoding in large batches.
    memory_time_factor
        On all other times: reading weights and KV cache, kernel starts, messages.
    error_share
        Half width of the 80 % error bar of TPOT and throughput, as a share.
    rests_on
        Nearest evidence, in words.
    """

    compute_time_factor: float = 1.0
    memory_time_factor: float = 1.0
    error_share: float
    rests_on: str

    def at_site(self, site_factor: float) -> Correction:
        """Return the correction at a site that is ``site_factor`` times as fast."""
        return self.slower(1.0 / site_factor)

    def slower(self, factor: float) -> Correction:
        """Return the correction with all times longer by a factor."""
        return replace(
            self,
            compute_time_factor=self.compute_time_factor * factor,
            memory_time_factor=self.memory_time_factor * factor,
        )


class Uncertainty(NamedTuple):
    """Independent parts of the error of a deployment, as half widths of 80 % bars.

    Attributes
    ----------
    within
        Between loads of one deployment: no measurement removes it.
    model
        Common to all deployments of the model in its precision.
    gpu
        Common to all deployments of the model on the GPU type.
    deployment
        Of this tensor parallel size and number of stages alone.
    rests_on
        Nearest evidence, in words.
    """

    within: float
    model: float
    gpu: float
    deployment: float
    rests_on: str

    @property
    def width(self) -> float:
        """All parts together."""
        return math.hypot(self.within, self.model, self.gpu, self.deployment)


def evidence(
    arch: ModelArch, precision: Precision, gpu: GpuType, tensor_parallel: int, stages: int = 1
) -> Correction:
    """Return the error bar of the model as it is, without measured points of a user.

    Parameters
    ----------
    arch, precision, gpu, tensor_parallel, stages
        The deployment.
    """
    found = uncertainty(arch, precision, gpu, tensor_parallel, stages)
    return Correction(error_share=error_share(found.width), rests_on=found.rests_on)


def error_share(width: float) -> float:
    """Return a half width on the logarithm as a share of the predicted value."""
    return math.expm1(width)


def uncertainty(
    arch: ModelArch,
    precision: Precision,
    gpu: GpuType,
    tensor_parallel: int,
    stages: int = 1,
    *,
    measured: Mapping[tuple[str, Precision], Mapping[str, tuple[int, ...]]] = MEASURED_DEPLOYMENTS,
) -> Uncertainty:
    """Return the parts of a deployment's error and the nearest evidence.

    Parameters
    ----------
    arch, precision, gpu, tensor_parallel, stages
        The deployment.
    measured
        Tensor parallel sizes that count as measured, by model, precision and GPU type.
    """
    precision = Precision.BF16 if precision is Precision.FP16 else precision
    sizes = measured.get((arch.name, precision), {})
    family = family_of(gpu)
    # A PCIe board of a chip has other clocks and memory than the one that was measured.
    other_board = gpu.link is Link.PCIE and family in (*SERVED, "A100")
    chip = gpu.name if other_board else SAME_CHIP.get(family, family)
    of_gpu, what = _gpu_part(family, chip)
    within, of_model = WITHIN, 0.0
    if chip in sizes:
        words = f"vLLM serving this model on {chip} at TP {_listed(sizes[chip])}"
    elif sizes:
        of_gpu = max(of_gpu, OTHER_GPU)
        words = f"vLLM serving this model on {' and '.join(sizes)}; {gpu.name}: {what}"
    else:
        of_model, kind = _model_part(arch)
        within = WITHIN_EXPERTS if arch.experts else WITHIN
        words = f"{kind} on H100 and H200; {gpu.name}: {what}"
    split = 0.0 if tensor_parallel in sizes.get(chip, ()) else OTHER_SPLIT
    unmeasured = [split]
    if tensor_parallel > 1 and gpu.link is Link.PCIE:
        unmeasured.append(PCIE)
        words += "; all-reduce over PCIe little known"
    if stages > 1:
        unmeasured.append(PIPELINE)
        words += "; no pipeline measured"
    packed = precision in (Precision.FP8, Precision.MXFP4)
    if packed and chip not in SERVED and precision not in gpu.flops_per_s:
        of_gpu = math.hypot(of_gpu, WEIGHT_ONLY)
        words += f"; {gpu.name} unpacks {precision.value}"
    return Uncertainty(within, of_model, of_gpu, math.hypot(*unmeasured), words)


def _gpu_part(family: str, chip: str) -> tuple[float, str]:
    """Return the part of the error that a GPU type adds, and what is known of it."""
    if chip in SERVED:
        return 0.0, "vLLM serving models"
    if chip in OPERATORS:
        return OPERATORS_ONLY, "operator times, TensorRT-LLM throughput"
    if family in SERVED or family in OPERATORS:
        return LAYERS_ONLY, f"data sheet, shares of the peaks as {family}"
    if family in LAYERS:
        return LAYERS_ONLY, "layer times of 2023"
    return DATA_SHEET_ONLY, "data sheet only"


def _model_part(arch: ModelArch) -> tuple[float, str]:
    """Return the part of the error that an unmeasured model adds, and what is known of it."""
    if not arch.experts:
        return OTHER_DENSE, "vLLM serving other dense models"
    if arch.name.startswith(tuple(MEASURED_ROUTING)):
        return OTHER_ROUTING, "vLLM serving another size of this mixture of experts"
    return OTHER_EXPERTS, "vLLM serving other mixtures of experts"


def _listed(sizes: tuple[int, ...]) -> str:
    return ", ".join(str(size) for size in sizes)
