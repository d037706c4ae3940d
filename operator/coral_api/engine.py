"""What a service may say about its engine and its pods."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from coral_api.base import (
    GROUP,
    ApiModel,
    CelRule,
    DnsSubdomain,
    Integer,
    LabelKey,
    LabelValue,
    Quantity,
)

AnnotationValue = Annotated[str, Field(max_length=4096)]
"""Value of an annotation."""

PLANNED_FLAGS = (
    "--model",
    "--served-model-name",
    "--revision",
    "--dtype",
    "--quantization",
    "-q",
    "--tensor-parallel-size",
    "-tp",
    "--pipeline-parallel-size",
    "-pp",
    "--data-parallel-size",
    "-dp",
    "--nnodes",
    "-n",
    "--node-rank",
    "-r",
    "--headless",
    "--master-addr",
    "--master-port",
    "--max-model-len",
    "--max-num-seqs",
    "--max-num-batched-tokens",
    "--gpu-memory-utilization",
    "--kv-cache-memory-bytes",
    "--kv-transfer-config",
    "--shutdown-timeout",
    "--host",
    "--port",
)
"""Flags that would undo a plan outright, so that the API server refuses them at once.

The operator refuses further ones, in every spelling that the engine takes, with a word on what to
do instead; a rule in a CRD must be cheap.
"""

PLANNED_VARIABLES = ("VLLM_PP_LAYER_PARTITION", "VLLM_HOST_IP", "VLLM_ENGINE_READY_TIMEOUT_S")
"""Variables that would undo a plan outright; the operator refuses further ones."""


class EnvironmentVariable(ApiModel):
    """One environment variable of the engine."""

    name: str = Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        min_length=1,
        max_length=128,
        description="Name of the variable.",
    )
    value: str = Field(
        "", max_length=4096, description="Its value; secrets belong into hubTokenSecret."
    )


class EngineSpec(ApiModel):
    """The engine's image, and arguments beside those that the plan decides."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            # The engine takes --max_model_len for --max-model-len, and --flag=value.
            "!has(self.args) || !self.args.exists(a, a.split('=')[0].replace('_', '-') in ["
            + ", ".join(f"'{flag}'" for flag in PLANNED_FLAGS)
            + "])",
            "args must not name a flag that the plan decides: " + " ".join(PLANNED_FLAGS),
        ),
        CelRule(
            "!has(self.env) || !self.env.exists(e, e.name in ["
            + ", ".join(f"'{name}'" for name in PLANNED_VARIABLES)
            + "])",
            "env must not set a variable that the operator sets: " + " ".join(PLANNED_VARIABLES),
        ),
    )

    image: str | None = Field(
        None,
        min_length=1,
        max_length=512,
        description="Image of vLLM; absent: the one that the operator is set up with.",
    )
    args: tuple[Annotated[str, Field(max_length=1024)], ...] = Field(
        (),
        max_length=64,
        description="Further arguments of the engine, for example --enable-prefix-caching.",
    )
    env: tuple[EnvironmentVariable, ...] = Field(
        (),
        max_length=64,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        description="Further environment variables of the engine.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        flags, variables = (rule.message for rule in self.cel_rules)
        if any(arg.split("=")[0].replace("_", "-") in PLANNED_FLAGS for arg in self.args):
            raise ValueError(flags)
        names = [variable.name for variable in self.env]
        if set(names) & set(PLANNED_VARIABLES):
            raise ValueError(variables)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"env: duplicate names: {', '.join(twice)}")
        return self


class TaintEffect(StrEnum):
    """What a taint does to pods that do not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class TolerationOperator(StrEnum):
    """How a toleration compares a taint."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class Toleration(ApiModel):
    """A taint that the pods tolerate, as Kubernetes has it."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "self.operator != 'Exists' || !has(self.value)",
            "a toleration with operator Exists has no value",
        ),
    )

    key: LabelKey = Field(description="Key of the taint.")
    operator: TolerationOperator = Field(
        TolerationOperator.EQUAL, description="Exists, or Equal to value."
    )
    value: LabelValue | None = Field(None, description="Value of the taint, for Equal.")
    effect: TaintEffect | None = Field(None, description="Effect of the taint; absent: every one.")
    toleration_seconds: Integer | None = Field(
        None, ge=0, le=86_400, description="How long NoExecute is tolerated; absent: for ever."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.operator is TolerationOperator.EXISTS and self.value is not None:
            raise ValueError(self.cel_rules[0].message)
        return self


class ResourceRequests(ApiModel):
    """What a pod asks for besides GPUs."""

    cpu: Quantity | None = Field(None, description="CPU request of a pod, for example 8.")
    memory: Quantity | None = Field(None, description="Memory request of a pod, for example 64Gi.")


class SecretKey(ApiModel):
    """One entry of a Secret in the namespace of the service."""

    name: DnsSubdomain = Field(description="Name of the Secret.")
    key: str = Field(
        "token",
        pattern=r"^[-._a-zA-Z0-9]+$",
        max_length=253,
        description="Key inside the Secret.",
    )


class CacheSpec(ApiModel):
    """Where downloaded weights are kept: a claim, a folder of the node, or (default) the pod."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "[has(self.claimName), has(self.hostPath), has(self.sizeLimit)]"
            ".filter(x, x).size() <= 1",
            "give at most one of claimName, hostPath and sizeLimit",
        ),
    )

    claim_name: DnsSubdomain | None = Field(
        None, description="PersistentVolumeClaim (ReadWriteMany) shared by the model's pods."
    )
    host_path: str | None = Field(
        None,
        pattern=r"^/[-A-Za-z0-9_./]*$",
        max_length=512,
        description="Folder on the node; it outlives the pods.",
    )
    size_limit: Quantity | None = Field(
        None, description="Bound on the pod's own emptyDir, for example 200Gi."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if [self.claim_name, self.host_path, self.size_limit].count(None) < 2:
            raise ValueError(self.cel_rules[0].message)
        return self


class PodTemplate(ApiModel):
    """What a model's pods get besides what the plan and the engine need."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            f"(!has(self.labels) || !self.labels.exists(k, k.startsWith('{GROUP}/')))"
            f" && (!has(self.annotations)"
            f" || !self.annotations.exists(k, k.startsWith('{GROUP}/')))",
            f"labels and annotations under {GROUP}/ belong to the operator",
        ),
    )

    labels: dict[LabelKey, LabelValue] = Field(
        default_factory=dict, max_length=32, description="Further labels of the pods."
    )
    annotations: dict[LabelKey, AnnotationValue] = Field(
        default_factory=dict, max_length=32, description="Further annotations of the pods."
    )
    tolerations: tuple[Toleration, ...] = Field(
        (),
        max_length=16,
        description="Taints that the pods tolerate besides those that their GPUPool names.",
    )
    service_account_name: DnsSubdomain | None = Field(
        None, description="Service account of the pods; absent: the namespace's default."
    )
    priority_class_name: DnsSubdomain | None = Field(
        None, description="PriorityClass of the pods; absent: the cluster's default."
    )
    image_pull_secrets: tuple[DnsSubdomain, ...] = Field(
        (), max_length=8, description="Secrets with which images are pulled."
    )
    resources: ResourceRequests = Field(
        default_factory=ResourceRequests,
        description="CPU and memory requests of a pod; absent: chosen from the model's size.",
    )
    hub_token_secret: SecretKey | None = Field(
        None, description="Secret with the token for the model hub (HF_TOKEN)."
    )
    cache: CacheSpec = Field(
        default_factory=CacheSpec, description="Where downloaded weights are kept."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if any(key.startswith(f"{GROUP}/") for key in (*self.labels, *self.annotations)):
            raise ValueError(self.cel_rules[0].message)
        return self
