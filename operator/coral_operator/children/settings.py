"""What the builders need to know besides the plan and the services."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coral_solver.domain.hardware import GpuType, PoolKey

VLLM_VERSION = "0.32.0"
"""Version whose arguments, variables and behaviour the builders rely on.

``docs/reference/vllm-arguments.md`` records the check against its own argument parser.
"""

DEFAULT_IMAGE = f"vllm/vllm-openai:v{VLLM_VERSION}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolAccess:
    """How pods get onto the nodes of a pool.

    Attributes
    ----------
    node_labels
        Labels that every node of the pool has, those that are still to be opened included.
    tolerated_taint_keys
        Taints of the pool's nodes that pods must tolerate.
    """

    node_labels: Mapping[str, str] = field(default_factory=dict)
    tolerated_taint_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSettings:
    """Settings of the operator that concern children.

    Attributes
    ----------
    gpu_types
        GPU types of the catalogue by name.
    image
        Image of vLLM for models that name none.
    pools
        Access to pools that a GPUPool describes; a pool without an entry needs none, unless an
        instance is to open a node in it.
    """

    gpu_types: Mapping[str, GpuType]
    image: str = DEFAULT_IMAGE
    pools: Mapping[PoolKey, PoolAccess] = field(default_factory=dict)
