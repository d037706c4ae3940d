"""The requests of ``KubeClient`` on a dictionary; server-side apply without field ownership."""

from __future__ import annotations

import copy
from collections import Counter

from coral_operator.kube.errors import ConflictError, NotFoundError


class FakeKube:
    """Objects by plural, namespace and name. ``faults`` are raised instead of an answer."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], dict] = {}
        self.faults: dict[tuple[str, str], Exception] = {}
        self.requests: list[tuple[str, str]] = []
        self.forced: list[bool] = []
        self._versions = Counter()

    def put(self, kind, body: dict) -> dict:
        """Store an object as if somebody else had written it."""
        stored = copy.deepcopy(body)
        metadata = stored["metadata"]
        self._versions["all"] += 1
        metadata.setdefault("uid", f"uid-{self._versions['all']}")
        metadata["resourceVersion"] = str(self._versions["all"])
        metadata.setdefault("generation", 1)
        key = (kind.plural, metadata.get("namespace") or "", metadata["name"])
        self.objects[key] = stored
        return copy.deepcopy(stored)

    def names(self, kind) -> list[str]:
        return sorted(name for plural, _, name in self.objects if plural == kind.plural)

    def _record(self, verb: str, kind, name: str) -> None:
        self.requests.append((verb, name))
        fault = self.faults.get((verb, name)) or self.faults.get((verb, kind.plural))
        if fault is not None:
            raise fault

    def _find(self, kind, name: str, namespace: str | None) -> dict:
        try:
            return self.objects[kind.plural, namespace or "", name]
        except KeyError:
            raise NotFoundError(f"{kind.plural} {name} not found", status=404) from None

    async def get(self, kind, name, namespace=None):
        self._record("get", kind, name)
        return copy.deepcopy(self._find(kind, name, namespace))

    async def list_uids(self, kind):
        self._record("list", kind, kind.plural)
        return {o["metadata"]["uid"] for (p, _, _), o in self.objects.items() if p == kind.plural}

    async def create(self, kind, body):
        metadata = dict(body["metadata"])
        if "generateName" in metadata:
            metadata["name"] = f"{metadata['generateName']}{len(self.requests)}"
        self._record("create", kind, metadata["name"])
        if (kind.plural, metadata.get("namespace") or "", metadata["name"]) in self.objects:
            raise ConflictError("already exists", status=409)
        return self.put(kind, {**body, "metadata": metadata})

    async def replace(self, kind, body):
        metadata = body["metadata"]
        self._record("replace", kind, metadata["name"])
        found = self._find(kind, metadata["name"], metadata.get("namespace"))
        if found["metadata"]["resourceVersion"] != metadata.get("resourceVersion"):
            raise ConflictError("changed meanwhile", status=409)
        return self.put(kind, body)

    async def apply(self, kind, body, *, force):
        metadata = body["metadata"]
        self._record("apply", kind, metadata["name"])
        self.forced.append(force)
        try:
            found = self._find(kind, metadata["name"], metadata.get("namespace"))
        except NotFoundError:
            return self.put(kind, body)
        kept = {k: found["metadata"][k] for k in ("uid", "generation")}
        return self.put(kind, {**body, "metadata": {**metadata, **kept}})

    async def json_patch(self, kind, name, operations, namespace=None):
        self._record("patch", kind, name)
        found = self._find(kind, name, namespace)
        for operation in operations:
            field = operation["path"].removeprefix("/metadata/")
            if operation["op"] == "test":
                if found["metadata"].get(field) != operation["value"]:
                    raise ConflictError("test failed", status=422)
            else:
                found["metadata"][field] = operation["value"]
        return copy.deepcopy(found)

    async def write_status(self, kind, name, status, namespace=None):
        self._record("status", kind, name)
        found = self._find(kind, name, namespace)
        found["status"] = copy.deepcopy(status)
        return copy.deepcopy(found)

    async def delete(self, kind, name, namespace=None, *, uid=None):
        self._record("delete", kind, name)
        key = (kind.plural, namespace or "", name)
        if key in self.objects and uid in (None, self.objects[key]["metadata"]["uid"]):
            del self.objects[key]
