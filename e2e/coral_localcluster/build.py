"""Build the cluster's programs from Go modules, once, into a cache.

A cache entry is a folder named after a hash of everything that decides its
content, so it never goes stale, and another version builds beside it.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from coral_localcluster.errors import BuildError, GoToolchainError
from coral_localcluster.locking import exclusive_lock_file
from coral_localcluster.paths import cache_dir

MODULE_DIR = Path(__file__).resolve().parent / "gomodule"
"""The Go module that pins and builds every program."""

PROGRAMS = ("controlplane", "kwok")
"""File names of the built programs."""

STAGE_FILES = (
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-complete.yaml",
    "pod/fast/pod-delete.yaml",
)
"""KWOK's stages that make nodes Ready and pods Running, below ``kustomize/stage``."""

_KWOK_MODULE = "sigs.k8s.io/kwok"
_PROGRESS_INTERVAL_S = 20.0
_ERROR_TAIL_LINES = 25

ProgressReporter = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolset:
    """Paths of what one build left in the cache.

    Parameters
    ----------
    root
        The cache entry; everything else lies in it.
    """

    root: Path

    @property
    def controlplane(self) -> Path:
        """Program that holds etcd and the Kubernetes control plane."""
        return self.root / "controlplane"

    @property
    def kwok(self) -> Path:
        """Program that plays the kubelets."""
        return self.root / "kwok"

    @property
    def stages_dir(self) -> Path:
        """Folder of the KWOK stage files, by base name."""
        return self.root / "stages"


def report_to_stderr(message: str) -> None:
    """Print one line of progress to the standard error stream."""
    print(f"[coral-localcluster] {message}", file=sys.stderr, flush=True)


def kubernetes_version(module_dir: Path = MODULE_DIR) -> str:
    """Return the Kubernetes version that the Go module pins, such as ``v1.36.3``."""
    match = re.search(
        r"^\s*k8s\.io/kubernetes (v\d+\.\d+\.\d+)$",
        (module_dir / "go.mod").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    if match is None:
        raise BuildError("ModuleUnreadable", f"{module_dir}/go.mod names no k8s.io/kubernetes")
    return match[1]


def build_flags(module_dir: Path = MODULE_DIR) -> tuple[str, ...]:
    """Return the flags of ``go build``; they are a part of the cache key."""
    version = kubernetes_version(module_dir)
    major, minor, _ = version.removeprefix("v").split(".")
    stamp = "k8s.io/component-base/version"
    # Without the stamp the API server says v0.0.0, and clients that check it refuse.
    ldflags = (
        f"-s -w -X {stamp}.gitVersion={version} "
        f"-X {stamp}.gitMajor={major} -X {stamp}.gitMinor={minor}"
    )
    return ("-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", ldflags)


def cache_key(module_dir: Path = MODULE_DIR) -> str:
    """Return the name of the cache entry: a hash of sources, versions, flags and platform."""
    digest = hashlib.sha256()
    sources = sorted((module_dir / "cmd").rglob("*.go"))
    for path in (module_dir / "go.mod", module_dir / "go.sum", *sources):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(module_dir).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    for word in (*build_flags(module_dir), *STAGE_FILES, platform.system(), platform.machine()):
        digest.update(f"{word}\0".encode())
    return digest.hexdigest()[:20]


def cached_toolset(module_dir: Path = MODULE_DIR) -> Toolset | None:
    """Return the built programs, or ``None`` where they have not been built."""
    # The entry appears by one rename, so that it exists means that it is whole.
    root = _builds_dir() / cache_key(module_dir)
    return Toolset(root=root) if root.is_dir() else None


def find_go() -> str | None:
    """Return the path of the ``go`` program, or ``None`` where there is none."""
    return shutil.which("go")


def ensure_toolset(
    *, module_dir: Path = MODULE_DIR, report: ProgressReporter = report_to_stderr
) -> Toolset:
    """Return the built programs, building them first where they are not cached.

    Two callers at once build once: the second waits for the first. An
    interrupted build leaves nothing that a later one would take for whole.

    Parameters
    ----------
    module_dir
        Go module to build.
    report
        Called with a line of progress now and then; a cold build takes minutes.

    Raises
    ------
    GoToolchainError
        If Go is missing (``reason="GoMissing"``) or too old (``reason="GoTooOld"``).
    BuildError
        If the build fails (``reason="BuildFailed"``).
    """
    toolset = cached_toolset(module_dir)
    if toolset is not None:
        return toolset
    go = _require_go(module_dir)
    builds = _builds_dir()
    builds.mkdir(parents=True, exist_ok=True)
    key = cache_key(module_dir)
    with exclusive_lock_file(
        builds / f"{key}.lock", on_wait=lambda: report("another build is running; waiting for it")
    ):
        toolset = cached_toolset(module_dir)
        if toolset is not None:
            return toolset
        # The lock says that whoever left these is gone.
        for leftover in builds.glob(f"{key}.tmp-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        scratch = Path(tempfile.mkdtemp(prefix=f"{key}.tmp-", dir=builds))
        try:
            _build_into(scratch, go=go, module_dir=module_dir, report=report)
            scratch.chmod(0o755)
            scratch.rename(builds / key)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return Toolset(root=builds / key)


def _builds_dir() -> Path:
    return cache_dir() / "localcluster"


def _require_go(module_dir: Path) -> str:
    wanted = re.search(
        r"^go (\d+\.\d+)", (module_dir / "go.mod").read_text(encoding="utf-8"), re.MULTILINE
    )
    minimum = wanted[1] if wanted else "1.26"
    advice = (
        f"Install Go {minimum} or newer (from go.dev, or your system's package manager), put it "
        "on PATH and try again. It is needed once: the built programs are kept in the cache."
    )
    go = find_go()
    if go is None:
        raise GoToolchainError(
            "GoMissing",
            f"the local cluster is built from source and no `go` program was found. {advice}",
            minimum_version=minimum,
        )
    # Asked inside the module: a Go that is too old fails here, and one that may
    # fetch a newer toolchain by itself answers for that one.
    answer = subprocess.run(
        [go, "env", "GOVERSION"],
        cwd=module_dir,
        env=_go_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    found = answer.stdout.strip()
    numbers = re.match(r"go(\d+)\.(\d+)", found)
    needed = tuple(int(part) for part in minimum.split("."))
    if answer.returncode == 0 and numbers and (int(numbers[1]), int(numbers[2])) >= needed:
        return go
    raise GoToolchainError(
        "GoTooOld",
        f"{go} is {found or answer.stderr.strip() or 'of an unknown version'}, but Go {minimum} "
        f"is needed. {advice}",
        minimum_version=minimum,
        found_version=found or None,
    )


def _go_environment() -> dict[str, str]:
    # The user's flags and workspace would change what is built; their proxy,
    # module cache and certificates are theirs to choose, and are kept.
    # Without cgo no C compiler is needed, and the programs link to nothing.
    return {**os.environ, "GOFLAGS": "", "GOWORK": "off", "CGO_ENABLED": "0"}


def _build_into(target: Path, *, go: str, module_dir: Path, report: ProgressReporter) -> None:
    report(
        f"building etcd, the Kubernetes {kubernetes_version(module_dir)} control plane and KWOK "
        "from source; this takes 2 to 10 minutes, once"
    )
    began_s = time.monotonic()
    _run_go(
        [go, "build", *build_flags(module_dir), "-o", f"{target}/", "./cmd/..."],
        module_dir=module_dir,
        report=report,
    )
    listing = _run_go(
        [go, "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", _KWOK_MODULE],
        module_dir=module_dir,
        report=report,
    )
    stages_source = Path(listing.strip()) / "kustomize" / "stage"
    stages = target / "stages"
    stages.mkdir()
    for name in STAGE_FILES:
        # copyfile, not copy: the module cache is read-only, and so would the copy be.
        shutil.copyfile(stages_source / name, stages / Path(name).name)
    elapsed_s = time.monotonic() - began_s
    (target / "build.json").write_text(
        json.dumps(
            {
                "kubernetes": kubernetes_version(module_dir),
                "flags": build_flags(module_dir),
                "build_s": round(elapsed_s, 1),
            },
            indent=2,
        )
        + "\n",
        encoding="utf-8",
    )
    report(f"built in {elapsed_s:.0f} s")


def _run_go(command: list[str], *, module_dir: Path, report: ProgressReporter) -> str:
    """Run one ``go`` command to its end, saying now and then that it is still at work."""
    began_s = time.monotonic()
    with (
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command, cwd=module_dir, env=_go_environment(), stdout=output, stderr=errors
        ) as process,
    ):
        try:
            while True:
                try:
                    returncode = process.wait(timeout=_PROGRESS_INTERVAL_S)
                    break
                except subprocess.TimeoutExpired:
                    report(f"still building after {time.monotonic() - began_s:.0f} s")
        except BaseException:
            process.terminate()
            raise
        output.seek(0)
        errors.seek(0)
        if returncode != 0:
            tail = errors.read().decode(errors="replace").splitlines()[-_ERROR_TAIL_LINES:]
            raise BuildError(
                "BuildFailed",
                f"`{' '.join(command[:2])}` exited with {returncode}:\n" + "\n".join(tail),
                returncode=returncode,
            )
        return output.read().decode()
