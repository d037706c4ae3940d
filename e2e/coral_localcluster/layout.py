"""Files of one cluster, all below its state folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Paths in a cluster's state folder.

    Parameters
    ----------
    root
        The state folder, absolute; only its owner may enter it.
    """

    root: Path

    @property
    def kubeconfig(self) -> Path:
        """Client configuration of a cluster administrator."""
        return self.root / "kubeconfig"

    @property
    def token_file(self) -> Path:
        """Static tokens that the API server accepts."""
        return self.root / "tokens.csv"

    @property
    def pki_dir(self) -> Path:
        """Certificates and keys, made by ``controlplane credentials``."""
        return self.root / "pki"

    @property
    def etcd_dir(self) -> Path:
        """The cluster's data."""
        return self.root / "etcd"

    @property
    def stages_file(self) -> Path:
        """KWOK's configuration."""
        return self.root / "kwok.yaml"

    @property
    def logs_dir(self) -> Path:
        """One log file per component."""
        return self.root / "logs"

    def log_file(self, component: str) -> Path:
        """Return the path of a component's log."""
        return self.logs_dir / f"{component}.log"
