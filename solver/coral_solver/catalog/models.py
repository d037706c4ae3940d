"""Model architectures, by Coral's name, by hub id, or by the path of a ``config.json``."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from coral_solver.catalog.huggingface import model_from_config_file
from coral_solver.catalog.names import did_you_mean, fold
from coral_solver.catalog.resources import read_toml, validated
from coral_solver.domain.errors import CatalogError
from coral_solver.domain.hardware import Precision
from coral_solver.domain.workload import ModelArch

if TYPE_CHECKING:
    from typing import Self

_FILE = "models.toml"


class _Checkpoint(BaseModel):
    """A further hub id with the same shape."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hub_id: str = Field(pattern="^[^/ ]+/[^/ ]+$")
    aliases: tuple[str, ...] = ()
    native_precision: Precision | None = None
    max_context_tokens: PositiveInt | None = None


class _ModelRecord(BaseModel):
    """One table of ``models.toml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    hub_id: str = Field(pattern="^[^/ ]+/[^/ ]+$")
    aliases: tuple[str, ...] = ()
    layers: PositiveInt
    hidden_size: PositiveInt
    attention_heads: PositiveInt
    kv_heads: PositiveInt
    head_dim: PositiveInt
    intermediate_size: PositiveInt
    vocab_size: PositiveInt
    experts: int = Field(0, ge=0)
    experts_per_token: int = Field(0, ge=0)
    moe_intermediate_size: int = Field(0, ge=0)
    sliding_window_tokens: int = Field(0, ge=0)
    sliding_layers: int = Field(0, ge=0)
    tied_embeddings: bool = False
    attention_bias: bool = False
    max_context_tokens: PositiveInt
    native_precision: Precision
    parameters: PositiveInt
    licence: str = Field(min_length=1)
    source: str = Field(min_length=1)
    checkpoints: tuple[_Checkpoint, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.attention_heads % self.kv_heads:
            raise ValueError(f"{self.name}: kv_heads does not divide attention_heads")
        if len({bool(self.experts), bool(self.experts_per_token)}) != 1:
            raise ValueError(f"{self.name}: experts and experts_per_token go together")
        if self.experts_per_token > self.experts:
            raise ValueError(f"{self.name}: more experts per token than experts")
        if bool(self.experts) != bool(self.moe_intermediate_size):
            raise ValueError(f"{self.name}: experts need moe_intermediate_size")
        if bool(self.sliding_layers) != bool(self.sliding_window_tokens):
            raise ValueError(f"{self.name}: sliding layers and window go together")
        if self.sliding_layers > self.layers:
            raise ValueError(f"{self.name}: more sliding layers than layers")
        return self

    def arch(self) -> ModelArch:
        """Return the domain's view."""
        fields = self.model_dump(exclude={"aliases", "checkpoints", "licence", "parameters"})
        return ModelArch(**fields)


class _ModelFile(BaseModel):
    """``models.toml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: tuple[_ModelRecord, ...]


class _Models:
    """The validated catalogue with its index."""

    def __init__(self) -> None:
        self.records = validated(_ModelFile, read_toml(_FILE), _FILE).model
        self.archs = {record.name: record.arch() for record in self.records}
        self.by_name: dict[str, ModelArch] = {}
        self.names: set[str] = set()
        for record in self.records:
            arch = self.archs[record.name]
            self._add((record.name, record.hub_id, *record.aliases), arch)
            for checkpoint in record.checkpoints:
                self._add(
                    (checkpoint.hub_id, *checkpoint.aliases),
                    replace(
                        arch,
                        hub_id=checkpoint.hub_id,
                        native_precision=checkpoint.native_precision or arch.native_precision,
                        max_context_tokens=checkpoint.max_context_tokens or arch.max_context_tokens,
                    ),
                )

    def _add(self, names: tuple[str, ...], arch: ModelArch) -> None:
        self.names.update(names)
        # The part behind the organisation is a name too: Qwen3-32B for Qwen/Qwen3-32B.
        for key in {fold(form) for name in names for form in (name, name.rpartition("/")[2])}:
            known = self.by_name.setdefault(key, arch)
            if replace(known, hub_id=None) != replace(arch, hub_id=None):
                raise CatalogError(
                    f"package data {_FILE}: {key!r} means two models", reason="InvalidCatalog"
                )


@cache
def _models() -> _Models:
    return _Models()


def model_archs() -> tuple[ModelArch, ...]:
    """Return every architecture of the catalogue once, sorted by name."""
    return tuple(arch for _, arch in sorted(_models().archs.items()))


def published_parameters(name: str) -> int:
    """Return the number of parameters of an entry of ``model_archs``, embeddings included."""
    return next(record.parameters for record in _models().records if record.name == name)


def model_arch(name: str) -> ModelArch:
    """Return an architecture by name.

    Parameters
    ----------
    name
        Coral's name (``qwen3-32b``), a hub id (``Qwen/Qwen3-32B-FP8``) or the part behind its
        organisation; case, blanks and hyphens do not matter. A name that ends in ``.json`` is the
        path of a Hugging Face ``config.json``.

    Returns
    -------
    ModelArch
        With the hub id, native precision and context length of the checkpoint that was named.

    Raises
    ------
    CatalogError
        If the name is unknown (reason ``UnknownModel``; says which names are near), or the file
        cannot be read as a model that Coral represents.
    """
    if name.endswith(".json"):
        return model_from_config_file(Path(name))
    arch = _models().by_name.get(fold(name))
    if arch is None:
        raise CatalogError(
            f"model {name!r} is not in the catalogue: "
            f"{did_you_mean(name, _models().names, listed=_models().archs)}"
            " Or give the path of its config.json.",
            reason="UnknownModel",
        )
    return arch
