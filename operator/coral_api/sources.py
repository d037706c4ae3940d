"""Where a model's weights come from."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from coral_api.base import ApiModel, CelRule, DnsSubdomain

RelativePath = Annotated[
    str, Field(pattern=r"^([A-Za-z0-9_][-A-Za-z0-9_.]*(/[A-Za-z0-9_][-A-Za-z0-9_.]*)*)?$")
]
"""A path below a mount point; it cannot leave it."""


class PvcSource(ApiModel):
    """Weights on a persistent volume; it is mounted read-only."""

    claim_name: DnsSubdomain = Field(
        description="PersistentVolumeClaim in the namespace of the service."
    )
    path: RelativePath = Field(
        "", max_length=512, description="Folder of the model inside the volume."
    )


class ImageSource(ApiModel):
    """Weights in an OCI image; it is mounted read-only as an image volume."""

    reference: str = Field(
        min_length=1, max_length=512, description="Image, for example registry/model:v1."
    )
    path: RelativePath = Field(
        "", max_length=512, description="Folder of the model inside the image."
    )


class ModelSource(ApiModel):
    """Exactly one place that the weights come from."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "[has(self.huggingFace), has(self.pvc), has(self.image)].exists_one(x, x)",
            "give exactly one of huggingFace, pvc and image",
        ),
    )

    hugging_face: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][-A-Za-z0-9_.]*(/[A-Za-z0-9][-A-Za-z0-9_.]*)?$",
        max_length=200,
        description="Id on the Hugging Face hub, for example Qwen/Qwen3-32B.",
    )
    pvc: PvcSource | None = Field(None, description="Weights on a persistent volume.")
    image: ImageSource | None = Field(None, description="Weights in an OCI image.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if [self.hugging_face, self.pvc, self.image].count(None) != 2:
            raise ValueError(self.cel_rules[0].message)
        return self
