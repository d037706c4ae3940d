"""How many GPUs a pod holds: the scheduler's rule with init containers and sidecars."""

import pytest

from coral_api.pods import is_finished, requested_gpus, whole_number

GPU = "nvidia.com/gpu"


def container(gpus, **fields):
    return {"resources": {"limits": {GPU: gpus}}} | fields


def pod(containers, init=(), **spec):
    return {"spec": {"containers": list(containers), "initContainers": list(init)} | spec}


SIDECAR = {"restartPolicy": "Always"}


@pytest.mark.parametrize(
    ("manifest", "gpus"),
    [
        (pod([container("1"), container(2)]), 3),
        (pod([{}]), 0),
        (pod([{"resources": {"requests": {GPU: "2"}, "limits": {GPU: "2"}}}]), 2),
        (pod([container("2")], init=[container("4")]), 4),
        (pod([container("2")], init=[container("1"), container("1")]), 2),
        (pod([container("2")], init=[container("1", **SIDECAR)]), 3),
        # A sidecar that was started before an init container runs beside it: 2 + 3 > 1 + 2.
        (pod([container("1")], init=[container("2", **SIDECAR), container("3")]), 5),
        # Started after it, it does not: max(3, 1 + 2).
        (pod([container("1")], init=[container("3"), container("2", **SIDECAR)]), 3),
        (pod([container("1")], overhead={GPU: "1"}), 2),
        ({"spec": {}}, 0),
    ],
)
def test_the_gpus_of_a_pod(manifest, gpus):
    assert requested_gpus(manifest, GPU) == requested_gpus(manifest) == gpus


def test_each_vendors_gpus_are_counted_apart():
    manifest = pod([container("1"), {"resources": {"limits": {"amd.com/gpu": "2"}}}])
    assert requested_gpus(manifest, "amd.com/gpu") == 2
    assert requested_gpus(manifest) == 3


@pytest.mark.parametrize("quantity", ["-1", "1.5", "1500m", "", "nan", True, None])
def test_a_quantity_that_no_api_server_allows_is_a_fault(quantity):
    with pytest.raises(ValueError, match="whole number"):
        whole_number(quantity)


@pytest.mark.parametrize(
    ("phase", "finished"),
    [("Running", False), ("Succeeded", True), ("Failed", True), (None, False)],
)
def test_only_a_phase_ends_a_pod(phase, finished):
    manifest = {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {}}
    if phase:
        manifest["status"]["phase"] = phase
    assert is_finished(manifest) is finished
