"""Environment variables of an engine pod."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coral_operator.children.args import KV_ROLES
from coral_operator.children.timing import EXECUTE_TIMEOUT_S, start_budget_s

if TYPE_CHECKING:
    from coral_operator.children.member import Member

CACHE_PATH = "/model-cache"
"""Where downloaded weights are kept."""

NIXL_PORT = 5600
"""Default of vLLM's ``VLLM_NIXL_SIDE_CHANNEL_PORT``; tensor parallel ranks use those after it."""


def engine_env(member: Member) -> list[dict[str, Any]]:
    """Return the ``env`` of one stage: what Coral sets, then what the user adds."""
    pod_ip = {"fieldRef": {"fieldPath": "status.podIP"}}
    env: list[dict[str, Any]] = [{"name": "VLLM_HOST_IP", "valueFrom": pod_ip}]
    env.append(_value("VLLM_ENGINE_READY_TIMEOUT_S", start_budget_s(member.model, member.stages)))
    if member.stages > 1:
        # From the template alone: vLLM does not notice when stages disagree, and answers nonsense.
        partition = ",".join(str(layers) for layers in member.engine.layers_per_stage)
        env.append(_value("VLLM_PP_LAYER_PARTITION", partition))
        env.append(_value("VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS", EXECUTE_TIMEOUT_S))
    if member.phase in KV_ROLES:
        # The default, localhost, is of no use to the other side.
        env.append({"name": "VLLM_NIXL_SIDE_CHANNEL_HOST", "valueFrom": pod_ip})
        env.append(_value("VLLM_NIXL_SIDE_CHANNEL_PORT", NIXL_PORT))
    if member.spec.source.hugging_face is not None:
        env.append(_value("HF_HOME", f"{CACHE_PATH}/huggingface"))
    else:
        env.append(_value("HF_HUB_OFFLINE", 1))
    secret = member.spec.pod_template.hub_token_secret
    if secret is not None:
        reference = {"name": secret.name, "key": secret.key}
        env.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": reference}})
    env.extend(_value(extra.name, extra.value) for extra in member.spec.engine.env)
    return env


def _value(name: str, value: object) -> dict[str, str]:
    return {"name": name, "value": str(value)}
