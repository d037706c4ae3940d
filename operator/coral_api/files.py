"""Manifests from files: typed objects, and every problem with its place."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import yaml
from pydantic import ValidationError

from coral_api.base import API_VERSION, GROUP, KubernetesResource
from coral_api.crds import RESOURCES
from coral_api.gpupool import GPUPool
from coral_api.multillmservice import MultiLLMService
from coral_api.performanceprofile import PerformanceProfile
from coral_api.planningpolicy import PlanningPolicy
from coral_api.problems import validation_problems
from coral_api.servingplan import ServingPlan
from coral_solver.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from coral_api.problems import Location

STDIN = Path("-")
"""Stands for the standard input among paths."""

SUFFIXES = (".yaml", ".yml", ".json")
"""Files of a directory that are read; as with kubectl, folders inside it are not."""

_KINDS = {resource.crd.kind: resource for resource in RESOURCES}
_RAW_LISTS = {
    "Node": (("spec", "taints"), ("status", "conditions")),
    "Pod": (("spec", "containers"), ("spec", "initContainers")),
}
"""Kubernetes' own kinds that are read, and where a list of mappings may stand in them."""

# The C loader reads the list of a thousand nodes in a second; the Python one needs a minute.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifests:
    """What was read.

    Attributes
    ----------
    services, pools, profiles, plans
        Typed objects, sorted by namespace and name.
    policy
        The PlanningPolicy, if one was given.
    nodes, pods
        Kubernetes' own objects as they are, for finding the GPU pools of a cluster.
    ignored
        ``file:line: kind name`` of each object that Coral has no use for.
    """

    services: tuple[MultiLLMService, ...] = ()
    policy: PlanningPolicy | None = None
    pools: tuple[GPUPool, ...] = ()
    profiles: tuple[PerformanceProfile, ...] = ()
    plans: tuple[ServingPlan, ...] = ()
    nodes: tuple[dict[str, Any], ...] = ()
    pods: tuple[dict[str, Any], ...] = ()
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Document:
    """One object of a file: its value, and its YAML nodes, which know their lines."""

    file: str
    value: Any
    node: yaml.Node | None

    def place(self, location: Location = ()) -> str:
        """Return ``file:line`` of a field, or of the nearest part around it that exists."""
        if self.node is None:
            return self.file
        node = self.node
        for part in location:
            child = _child(node, part)
            if child is None:
                break
            node = child
        return f"{self.file}:{node.start_mark.line + 1}"

    def items(self) -> Iterator[_Document]:
        """Return the objects of a list."""
        nodes = _child(self.node, "items") if self.node is not None else None
        for index, value in enumerate(self.value.get("items") or ()):
            yield _Document(self.file, value, _child(nodes, index) if nodes is not None else None)


@dataclass(slots=True)
class _Reading:
    """What has been found so far."""

    typed: dict[tuple[str, str, str], KubernetesResource] = field(default_factory=dict)
    raw: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    places: dict[tuple[str, str, str], str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def load_manifests(paths: Sequence[Path], *, stdin: TextIO | None = None) -> Manifests:
    """Read manifests from files and directories.

    Parameters
    ----------
    paths
        YAML or JSON files with any number of objects, also lists as ``kubectl get -o yaml`` gives
        them; directories; ``STDIN``.
    stdin
        What ``STDIN`` reads; None: the process's standard input.

    Returns
    -------
    Manifests
        Typed objects, and nodes and pods as they are.

    Raises
    ------
    InvalidInputError
        With every problem of every file, each with its place.
    """
    reading = _Reading()
    for name, text in _texts(paths, stdin or sys.stdin, reading.problems):
        for document in _documents(name, text, reading.problems):
            _take(document, reading)
    if reading.problems:
        raise InvalidInputError(reading.problems)
    ordered = [value for _, value in sorted(reading.typed.items())]
    raw = sorted(reading.raw.items())
    return Manifests(
        services=tuple(x for x in ordered if isinstance(x, MultiLLMService)),
        policy=next((x for x in ordered if isinstance(x, PlanningPolicy)), None),
        pools=tuple(x for x in ordered if isinstance(x, GPUPool)),
        profiles=tuple(x for x in ordered if isinstance(x, PerformanceProfile)),
        plans=tuple(x for x in ordered if isinstance(x, ServingPlan)),
        nodes=tuple(value for (kind, _, _), value in raw if kind == "Node"),
        pods=tuple(value for (kind, _, _), value in raw if kind == "Pod"),
        ignored=tuple(reading.ignored),
    )


def _texts(paths: Sequence[Path], stdin: TextIO, problems: list[str]) -> Iterator[tuple[str, str]]:
    for path in paths:
        if path == STDIN:
            try:
                text = stdin.read()
                # Python lets broken bytes of its standard input through as lone surrogates.
                text.encode()
            except UnicodeError:
                problems.append("<stdin>: the input is not UTF-8 text")
            else:
                yield "<stdin>", text
            continue
        files = [path]
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
            if not files:
                problems.append(f"{path}: the directory has no {', '.join(SUFFIXES)} file")
        for file in files:
            try:
                yield str(file), file.read_text(encoding="utf-8")
            except FileNotFoundError:
                problems.append(f"{file}: there is no such file")
            except UnicodeDecodeError:
                problems.append(f"{file}: the file is not UTF-8 text")
            except OSError as error:
                problems.append(f"{file}: {error.strerror}")


def _documents(name: str, text: str, problems: list[str]) -> Iterator[_Document]:
    if text.lstrip().startswith("{"):
        try:
            yield _Document(name, json.loads(text), None)
        except json.JSONDecodeError:
            pass  # YAML's flow style starts with a brace as well
        except RecursionError:
            problems.append(f"{name}: its lists and mappings are nested too deeply")
            return
        else:
            return
    loader = _LOADER(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            yield _Document(name, loader.construct_document(node), node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{name}:{mark.line + 1}" if mark is not None else name
        problems.append(f"{place}: not YAML: {error.problem or error.context}")
    except (yaml.YAMLError, ValueError) as error:
        problems.append(f"{name}: not YAML: {error}")
    finally:
        loader.dispose()


def _take(document: _Document, reading: _Reading) -> None:
    """Sort one object in."""
    value = document.value
    if value is None:
        return
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        reading.problems.append(f"{document.place()}: this is no Kubernetes object: no kind")
        return
    kind, version = value["kind"], str(value.get("apiVersion", ""))
    if kind.endswith("List") and isinstance(value.get("items"), list):
        for item in document.items():
            # A NodeList leaves the kind of its items out.
            if isinstance(item.value, dict) and kind != "List":
                item.value.setdefault("kind", kind.removesuffix("List"))
                item.value.setdefault("apiVersion", version)
            _take(item, reading)
        return
    if kind in _RAW_LISTS and version == "v1":
        reading.problems += _raw_problems(kind, document)
        key = _key(kind, value)
        if _is_new(key, document, reading):
            reading.raw[key] = value
        return
    resource = _resource(kind, version, document, reading)
    if resource is not None:
        _validate(resource, document, reading)


def _raw_problems(kind: str, document: _Document) -> Iterator[str]:
    """Find what no API server would have written; files may be edited by hand."""
    for part, name in _RAW_LISTS[kind]:
        section = document.value.get(part)
        values = section.get(name) if isinstance(section, dict) else None
        if values is not None and not (
            isinstance(values, list) and all(isinstance(value, dict) for value in values)
        ):
            place = document.place((part, name))
            yield f"{place}: {part}.{name} of a {kind} must be a list of mappings"


def _resource(
    kind: str, version: str, document: _Document, reading: _Reading
) -> type[KubernetesResource] | None:
    """Return the model of one of Coral's kinds; anything else is noted."""
    is_ours = version.partition("/")[0] == GROUP
    if kind in _KINDS and version == API_VERSION:
        return _KINDS[kind]
    if kind in _KINDS:
        reading.problems.append(
            f"{document.place(('apiVersion',))}: apiVersion of a {kind} must be {API_VERSION},"
            f" not {version!r}"
        )
    elif is_ours:
        near = get_close_matches(kind, _KINDS, n=1, cutoff=0.5)
        reading.problems.append(
            f"{document.place(('kind',))}: unknown kind {kind!r}"
            + (f"; did you mean {near[0]}?" if near else f"; known: {', '.join(_KINDS)}")
        )
    else:
        name = _key(kind, document.value)[2]
        reading.ignored.append(f"{document.place()}: {kind} {name}".rstrip())
    return None


def _validate(resource: type[KubernetesResource], document: _Document, reading: _Reading) -> None:
    if document.node is not None:
        reading.problems += [
            f"{document.file}:{line}: {key}: this key is given twice"
            for line, key in _repeated_keys(document.node)
        ]
    try:
        typed = resource.from_manifest(document.value)
    except ValidationError as error:
        reading.problems += [
            f"{document.place(location)}: {text}"
            for location, text in validation_problems(error, resource)
        ]
        return
    key = (resource.crd.kind, _namespace(typed), typed.metadata.name)
    if _is_new(key, document, reading):
        reading.typed[key] = typed


def _namespace(resource: KubernetesResource) -> str:
    return resource.namespace if isinstance(resource, MultiLLMService) else ""


def _is_new(key: tuple[str, str, str], document: _Document, reading: _Reading) -> bool:
    place = document.place()
    if key not in reading.places:
        reading.places[key] = place
        return True
    first = reading.places[key]
    kind, namespace, name = key
    full_name = f"{namespace}/{name}" if namespace else name
    reading.problems.append(f"{place}: {kind} {full_name} is given twice, first at {first}")
    return False


def _key(kind: str, value: dict[str, Any]) -> tuple[str, str, str]:
    metadata = value.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    return kind, str(metadata.get("namespace", "")), str(metadata.get("name", ""))


def _child(node: yaml.Node, part: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
        return node.value[part] if part < len(node.value) else None
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == part), None)
    return None


def _repeated_keys(node: yaml.Node) -> Iterator[tuple[int, str]]:
    """Find keys that stand twice in one mapping; YAML's loader silently keeps the last."""
    waiting = [node]
    # Through anchors a node may stand in many places, even inside itself: each is seen once.
    seen: set[int] = set()
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        inner: list[yaml.Node] = []
        if isinstance(current, yaml.MappingNode):
            names: set[str] = set()
            for key, value in current.value:
                if isinstance(key.value, str):
                    if key.value in names:
                        yield key.start_mark.line + 1, key.value
                    names.add(key.value)
                inner.append(value)
        elif isinstance(current, yaml.SequenceNode):
            inner = current.value
        waiting += reversed(inner)
