"""What a user adds to the engine cannot undo what the plan decided."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from engine_pod_cases import cases, service_with
from hypothesis import given, settings
from hypothesis import strategies as st

from coral_api.engine import EngineSpec, EnvironmentVariable
from coral_operator.children.user_engine import OWNED_FLAGS, OWNED_VARIABLES, engine_problems

RECORDED = json.loads(
    (Path(__file__).parents[3] / "vllm" / "serve_flags.json").read_text(encoding="utf-8")
)["flags"]
OWNED_SPELLINGS = sorted(
    spelling
    for flag, known in RECORDED.items()
    if flag[2:] in OWNED_FLAGS
    for spelling in known["spellings"]
)
FREE_SPELLINGS = sorted(
    spelling
    for flag, known in RECORDED.items()
    if flag[2:] not in OWNED_FLAGS
    for spelling in known["spellings"]
)


def spec(args=(), variables=(), **fields):
    """Return a model with engine settings that the API has not looked at."""
    model = service_with("llama-8b", {"huggingFace": "a/b"}, **fields).spec.models[0]
    env = tuple(EnvironmentVariable(name=name, value="1") for name in variables)
    engine = EngineSpec.model_construct(image=None, args=tuple(args), env=env)
    return model.model_copy(update={"engine": engine})


class _UnparsedError(Exception):
    pass


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise _UnparsedError(message)


def parser():
    """Return a parser with vLLM's flags, which are plain argparse ones, abbreviations included."""
    result = _Parser(add_help=False)
    result.add_argument("model_tag", nargs="?")
    for known in RECORDED.values():
        if "--help" in known["spellings"]:
            continue
        action = "store_true" if known["nargs"] == 0 else "store"
        extra = {} if known["nargs"] == 0 else {"nargs": known["nargs"]}
        result.add_argument(*known["spellings"], action=action, **extra)
    return result


PARSER = parser()
PLANNED = cases()["single-gpu"].containers()["assistants-llama-8b-0-s0"]["args"]
OWNED_DESTINATIONS = [flag.replace("-", "_") for flag in OWNED_FLAGS if f"--{flag}" in RECORDED]


def test_every_owned_flag_is_one_of_vllm_or_a_second_spelling_of_one():
    spellings = {s for known in RECORDED.values() for s in known["spellings"]}
    assert {f"--{flag}" for flag in OWNED_FLAGS} <= spellings


@pytest.mark.parametrize("flag", OWNED_SPELLINGS)
def test_an_owned_flag_is_refused_in_every_spelling(flag):
    for argument in (flag, f"{flag}=1", flag.replace("-", "_").replace("__", "--", 1)):
        if argument.startswith("-"):
            assert engine_problems(spec([argument])), argument


@pytest.mark.parametrize("flag", FREE_SPELLINGS)
def test_every_other_flag_of_vllm_is_the_users(flag):
    assert engine_problems(spec([flag])) == ()


@pytest.mark.parametrize(
    "argument",
    ["--tensor-par", "--max_num_s=3", "-n4", "-q", "-t", "--kv-transfer-config.kv_role", "--"],
)
def test_an_abbreviation_or_a_part_of_an_owned_flag_is_refused(argument):
    assert len(engine_problems(spec([argument]))) == 1


@pytest.mark.parametrize("argument", ["hermes", "-1", "-0.5", '{"a": 1}', "a=b", "-O3"])
def test_values_are_not_taken_for_flags(argument):
    assert engine_problems(spec(["--seed", argument])) == ()


def test_the_message_names_the_argument_and_the_field_to_use_instead():
    (problem,) = engine_problems(spec(["--dtype=half"]))
    assert (
        problem
        == "engine.args: '--dtype=half' sets --dtype; remove it: set models[].precision instead"
    )


@pytest.mark.parametrize("name", sorted(OWNED_VARIABLES))
def test_a_variable_of_the_operator_is_refused(name):
    assert engine_problems(spec(variables=[name])) == (
        f"engine.env: {name} is set by the operator; remove it",
    )


def test_a_hub_token_is_the_users_unless_a_secret_is_named():
    assert engine_problems(spec(variables=["HF_TOKEN"])) == ()
    secret = {"hubTokenSecret": {"name": "hub-token"}}
    assert len(engine_problems(spec(variables=["HF_TOKEN"], podTemplate=secret))) == 1


def test_every_problem_is_reported():
    found = engine_problems(spec(["--port=1", "--seed=1", "-tp", "2"], ["HF_HOME", "NCCL_DEBUG"]))
    assert len(found) == 3


def test_every_variable_that_a_pod_gets_from_the_operator_is_owned():
    for case in cases().values():
        own = {variable.name for variable in case.service.spec.models[0].engine.env}
        for container in case.containers().values():
            names = {variable["name"] for variable in container["env"]}
            assert names - own - {"HF_TOKEN"} <= OWNED_VARIABLES


beginnings = st.sampled_from(
    sorted({s for k in RECORDED.values() for s in k["spellings"]})
).flatmap(lambda flag: st.integers(1, len(flag)).map(lambda length: flag[:length]))
arguments = st.lists(
    st.tuples(beginnings, st.sampled_from(["", "=7", "7"])).map("".join) | st.just("7"),
    max_size=4,
)


@settings(deadline=None, derandomize=True, max_examples=500)
@given(arguments)
def test_accepted_arguments_leave_every_planned_value_as_it_is(extra):
    if engine_problems(spec(extra)):
        return
    dashed = [arg.split("=")[0].replace("_", "-") + arg[len(arg.split("=")[0]) :] for arg in extra]
    before = PARSER.parse_args(PLANNED)
    try:
        after = PARSER.parse_args([*PLANNED, *dashed])
    except _UnparsedError:
        return
    for destination in OWNED_DESTINATIONS:
        assert getattr(after, destination) == getattr(before, destination), destination
