"""Requests carry what they should, and every answer that is none becomes the right fault."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio import client as kube_client

from coral_operator.kube import client as client_module
from coral_operator.kube.client import KubeClient
from coral_operator.kube.errors import (
    ConflictError,
    KubeError,
    KubeUnavailableError,
    LeaseLostError,
    NotFoundError,
)
from coral_operator.kube.kinds import DEPLOYMENTS, NODES, SERVING_PLANS

BODY = {"metadata": {"name": "x", "namespace": "n"}, "spec": {}}


class Server:
    """Answers with the given statuses in turn, then with 200; remembers the requests."""

    def __init__(self, *statuses: int, pages: bool = False) -> None:
        self.statuses = list(statuses)
        self.pages = pages
        self.requests: list[dict] = []

    async def handle(self, request: web.Request) -> web.Response:
        text = await request.text()
        self.requests.append(
            {
                "method": request.method,
                "path": request.path,
                "query": dict(request.query),
                "type": request.headers.get("Content-Type", "").split(";")[0],
                "accept": request.headers.get("Accept"),
                "body": json.loads(text) if text else None,
            }
        )
        status = self.statuses.pop(0) if self.statuses else 200
        more = {"continue": "here"} if self.pages and not request.query.get("continue") else {}
        items = [{"metadata": {"uid": f"u{len(self.requests)}"}}] if self.pages else None
        answer = {"metadata": {"name": "x", **more}, "items": items, "message": f"status {status}"}
        return web.json_response(answer, status=status)


def ask(server: Server, work, may_write=lambda: True):
    async def scenario():
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", server.handle)
        async with TestServer(app) as running:
            configuration = kube_client.Configuration()
            configuration.host = str(running.make_url("")).rstrip("/")
            async with kube_client.ApiClient(configuration) as api:
                return await work(KubeClient(api, may_write))

    return asyncio.run(scenario())


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch):
    monkeypatch.setattr(client_module, "FIRST_BACKOFF_S", 0.001)


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (404, NotFoundError),
        (409, ConflictError),
        (403, KubeError),
        (422, KubeError),
        (429, KubeUnavailableError),
        (503, KubeUnavailableError),
    ],
)
def test_each_status_becomes_its_fault_with_the_servers_words(status, fault):
    with pytest.raises(KubeError, match=f"GET /api/v1/nodes/x: {status} status {status}") as caught:
        ask(Server(*[status] * 9), lambda kube: kube.get(NODES, "x"))
    assert type(caught.value) is fault
    assert caught.value.status == status


def test_what_may_pass_is_tried_again_and_a_refusal_is_not():
    server = Server(503, 503)
    ask(server, lambda kube: kube.get(NODES, "x"))
    assert len(server.requests) == 3
    server = Server(403)
    with pytest.raises(KubeError):
        ask(server, lambda kube: kube.get(NODES, "x"))
    assert len(server.requests) == 1


def test_a_creation_is_never_sent_twice():
    server = Server(503)
    with pytest.raises(KubeUnavailableError):
        ask(server, lambda kube: kube.create(SERVING_PLANS, BODY))
    assert len(server.requests) == 1


def test_a_server_that_is_not_there_is_unavailable():
    async def scenario() -> None:
        configuration = kube_client.Configuration()
        configuration.host = "http://127.0.0.1:9"
        async with kube_client.ApiClient(configuration) as api:
            await KubeClient(api).get(NODES, "x")

    with pytest.raises(KubeUnavailableError, match="does not answer"):
        asyncio.run(scenario())


@pytest.mark.parametrize("force", [True, False])
def test_server_side_apply_names_its_manager_and_says_whether_it_takes_over(force):
    server = Server()
    ask(server, lambda kube: kube.apply(DEPLOYMENTS, BODY, force=force))
    (request,) = server.requests
    assert request["method"] == "PATCH"
    assert request["path"] == "/apis/apps/v1/namespaces/n/deployments/x"
    assert request["type"] == "application/apply-patch+yaml"
    assert request["query"]["fieldManager"] == "coral-operator"
    assert request["query"]["force"].lower() == str(force).lower()
    assert request["body"] == BODY


def test_a_status_is_replaced_as_a_whole():
    server = Server()
    ask(server, lambda kube: kube.write_status(SERVING_PLANS, "x", {"a": 1}))
    (request,) = server.requests
    assert request["path"].endswith("/servingplans/x/status")
    assert request["type"] == "application/json-patch+json"
    assert request["body"] == [{"op": "add", "path": "/status", "value": {"a": 1}}]


def test_a_list_asks_for_metadata_only_and_an_empty_one_is_empty():
    server = Server()
    assert ask(server, lambda kube: kube.list_uids(NODES)) == set()
    assert "PartialObjectMetadataList" in server.requests[0]["accept"]


def test_a_long_list_is_read_page_by_page():
    server = Server(pages=True)
    assert ask(server, lambda kube: kube.list_uids(NODES)) == {"u1", "u2"}
    assert [r["query"].get("continue") for r in server.requests] == [None, "here"]
    assert server.requests[0]["query"]["limit"] == "500"


@pytest.mark.parametrize("status", [404, 409])
def test_deleting_what_is_gone_or_another_by_now_is_fine(status):
    server = Server(status)
    ask(server, lambda kube: kube.delete(DEPLOYMENTS, "x", "n", uid="u"))
    assert server.requests[0]["body"]["preconditions"] == {"uid": "u"}
    assert server.requests[0]["body"]["propagationPolicy"] == "Background"


def test_without_the_lease_nothing_is_written_and_all_may_be_read():
    server = Server()
    ask(server, lambda kube: kube.get(NODES, "x"), may_write=lambda: False)
    with pytest.raises(LeaseLostError, match="was not sent"):
        ask(server, lambda kube: kube.delete(DEPLOYMENTS, "x", "n"), may_write=lambda: False)
    assert [r["method"] for r in server.requests] == ["GET"]
