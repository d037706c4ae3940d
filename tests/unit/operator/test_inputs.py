"""Services are read whole or in part, and what is wrong is said without harm to the others."""

from __future__ import annotations

from operator_builders import changed, inputs_of, model, service

from coral_api.conditions import Reason
from coral_api.multillmservice import OperatingMode
from coral_api.planningpolicy import PlanningPolicySpec
from coral_operator.planning.inputs import read_gpu_pools, read_policy, read_services


def test_a_valid_service_gives_its_models():
    (read,) = inputs_of(service("chat", model("a"), model("b")))
    assert [m.id for m in read.models] == ["default/chat/a", "default/chat/b"]
    assert (read.problem, read.mode) == (None, OperatingMode.ACTIVE)


def test_a_manifest_that_does_not_validate_names_every_field_and_counts_as_shadow():
    broken = service("chat", {**model(), "slo": {"ttftMilliseconds": -1}})
    (read,) = inputs_of(broken)
    assert read.service is None
    assert read.mode is OperatingMode.SHADOW
    assert read.problem is not None
    assert read.problem.reason is Reason.INVALID_SPEC
    assert "ttftMilliseconds" in read.problem.message
    assert "tpotMilliseconds" in read.problem.message


def test_one_unknown_model_leaves_the_others_to_be_planned():
    (read,) = inputs_of(service("chat", model("good"), model("bad", hub="nobody/knows-this")))
    assert [m.id for m in read.models] == ["default/chat/good"]
    assert read.problem is not None
    assert read.problem.reason is Reason.SOME_MODELS_INVALID
    assert read.problem.message.startswith("bad: ")


def test_a_service_without_any_known_model_has_the_models_own_reason():
    (read,) = inputs_of(service("chat", model("bad", hub="nobody/knows-this")))
    assert read.problem is not None
    assert read.problem.reason is Reason.UNKNOWN_MODEL


def test_a_model_whose_arguments_undo_the_plan_is_not_planned():
    greedy = {**model("greedy"), "engine": {"args": ["--max-num-s=9"]}}
    (read,) = inputs_of(service("chat", model("good"), greedy))
    assert [m.id for m in read.models] == ["default/chat/good"]
    assert [(p.model, p.reason) for p in read.model_problems] == [("greedy", Reason.INVALID_INPUT)]


def test_a_service_that_is_being_deleted_is_not_read_further():
    (read,) = inputs_of(changed(service(), deletionTimestamp="2026-11-22T11:00:00Z"))
    assert read.is_deleting
    assert (read.service, read.models) == (None, ())


def test_only_the_namespaces_of_the_scope_are_read():
    manifests = [service("x", namespace="a"), service("y", namespace="b")]
    read = read_services(manifests, PlanningPolicySpec(), frozenset({"b"}))
    assert [str(s.ref) for s in read] == ["b/y"]


def test_a_broken_policy_gives_the_defaults_and_says_so():
    manifest = {
        "apiVersion": "serving.coral.dev/v1alpha1",
        "kind": "PlanningPolicy",
        "metadata": {"name": "default"},
        "spec": {"paybackHorizonSeconds": -5},
    }
    policy, problem = read_policy([manifest])
    assert policy == PlanningPolicySpec()
    assert problem is not None
    assert "paybackHorizonSeconds" in problem.message
    assert read_policy([]) == (PlanningPolicySpec(), None)


def test_a_broken_gpu_pool_is_left_out_and_named():
    good = {
        "apiVersion": "serving.coral.dev/v1alpha1",
        "kind": "GPUPool",
        "metadata": {"name": "good"},
        "spec": {"nodeSelector": {"matchLabels": {"pool": "x"}}},
    }
    bad = {**good, "metadata": {"name": "bad"}, "spec": {"nodeSelector": {"matchLabels": {}}}}
    pools, problems = read_gpu_pools([good, bad])
    assert [p.metadata.name for p in pools] == ["good"]
    assert problems["bad"].reason is Reason.INVALID_POOL
