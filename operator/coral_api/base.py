"""What all custom resources share: names of the API group, the base models, bounded types."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue  # noqa: TC002 - read at run time, like the rest
from pydantic_core import CoreSchema  # noqa: TC002 - read at run time, like the rest

GROUP = "serving.coral.dev"
VERSION = "v1alpha1"
API_VERSION: Literal["serving.coral.dev/v1alpha1"] = "serving.coral.dev/v1alpha1"

DnsLabel = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
"""A name that may be a part of a host name."""

DnsSubdomain = Annotated[
    str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", min_length=1, max_length=253)
]
"""Name of most Kubernetes objects."""

LabelKey = Annotated[
    str,
    Field(
        pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
        min_length=1,
        max_length=317,
    ),
]
"""Key of a label, an annotation or a taint, with or without a prefix."""

LabelValue = Annotated[
    str, Field(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)
]
"""Value of a label."""

GpuTypeName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][-A-Za-z0-9_.]*$", min_length=1, max_length=63)
]
"""Name of a GPU type in the catalogue, for example ``A100-80GB``."""

MAX_TEXT = 4096
"""Characters of a sentence for people."""


def _cut(value: object) -> object:
    if isinstance(value, str) and len(value) > MAX_TEXT:
        return value[: MAX_TEXT - 1] + "…"
    return value


Text = Annotated[str, BeforeValidator(_cut), Field(max_length=MAX_TEXT)]
"""A sentence for people; cut where it is too long, since it only informs."""

Number = Annotated[float, Field(strict=True)]
"""A finite number; the text form of one is refused, as the API server does."""

Integer = Annotated[int, Field(strict=True)]
"""A whole number; ``2.0`` and ``"2"`` are refused."""

Boolean = Annotated[bool, Field(strict=True)]
"""``true`` or ``false``; ``"yes"`` and ``1`` are refused."""


def _quantity_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


_QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"

Quantity = Annotated[
    str,
    BeforeValidator(_quantity_text),
    Field(pattern=_QUANTITY_PATTERN, max_length=32),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": _QUANTITY_PATTERN,
            "x-kubernetes-int-or-string": True,
            "maxLength": 32,
        }
    ),
]
"""A Kubernetes resource quantity: ``8``, ``"500m"``, ``"64Gi"``."""


class CelRule(NamedTuple):
    """A rule over several fields, checked by the API server and, in Python, by a validator.

    ``rule`` is a CEL expression over ``self``; ``message`` says what to change.
    """

    rule: str
    message: str


class ApiModel(BaseModel):
    """Base of every part of a manifest: unknown fields are refused, names are camelCase.

    Attributes
    ----------
    cel_rules
        Rules over several fields of this part, for the CRD.
    """

    model_config = ConfigDict(
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        allow_inf_nan=False,
    )

    cel_rules: ClassVar[tuple[CelRule, ...]] = ()

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Return the JSON schema with the rules over several fields in it."""
        reference = handler(core_schema)
        if cls.cel_rules:
            schema = handler.resolve_ref_schema(reference)
            schema["x-kubernetes-validations"] = [
                {"rule": rule, "message": message} for rule, message in cls.cel_rules
            ]
        return reference

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form with camelCase names; what is None is left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class ObjectMeta(ApiModel):
    """The part of a Kubernetes object's metadata that Coral reads; the rest is ignored."""

    model_config = ConfigDict(extra="ignore")

    name: DnsSubdomain = Field(description="Name of the object.")
    namespace: DnsLabel | None = Field(None, description="Namespace; absent: cluster-scoped.")
    uid: str | None = Field(None, description="Identity that the API server gave the object.")
    generation: int | None = Field(None, description="Counts changes of the spec.")
    resource_version: str | None = Field(None, description="Changes with every write.")
    labels: dict[str, str] = Field(default_factory=dict, description="Labels.")
    annotations: dict[str, str] = Field(default_factory=dict, description="Annotations.")
    finalizers: tuple[str, ...] = Field((), description="What must happen before deletion.")
    creation_timestamp: datetime | None = Field(None, description="When it was created.")
    deletion_timestamp: datetime | None = Field(None, description="When deletion was asked for.")


class PrinterColumn(NamedTuple):
    """One column of ``kubectl get``; ``priority`` 1 shows it with ``-o wide`` only."""

    name: str
    type: str
    json_path: str
    description: str
    priority: int = 0


class CrdInfo(NamedTuple):
    """What a CRD says about a kind besides its schema."""

    kind: str
    plural: str
    singular: str
    short_names: tuple[str, ...]
    scope: Literal["Namespaced", "Cluster"]
    columns: tuple[PrinterColumn, ...]


class KubernetesResource(ApiModel):
    """A custom resource: ``apiVersion``, ``kind``, ``metadata`` and what the kind adds.

    Attributes
    ----------
    crd
        Names, scope and printer columns of the kind.
    """

    crd: ClassVar[CrdInfo]

    api_version: Literal["serving.coral.dev/v1alpha1"] = Field(
        API_VERSION, description="Version of the API; always serving.coral.dev/v1alpha1."
    )
    kind: str = Field(description="Kind of the object.")
    metadata: ObjectMeta = Field(description="Standard object metadata.")

    @classmethod
    def from_manifest(cls, manifest: dict[str, Any]) -> Self:
        """Validate a manifest or an object read from the API server.

        Raises
        ------
        pydantic.ValidationError
            With every problem of the manifest.
        """
        return cls.model_validate(manifest)
