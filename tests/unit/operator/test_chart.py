"""The chart starts the operator with flags that it has, and grants what it uses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
import yaml

from coral_operator.children.labels import SELECTOR
from coral_operator.handlers import build_settings
from coral_operator.kube import kinds
from coral_operator.main import app
from coral_operator.observe.store import WATCHED

CHART = Path(__file__).parents[3] / "helm" / "coral"
DEPLOYMENT = (CHART / "templates" / "deployment.yaml").read_text(encoding="utf-8")
VALUES = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
RULES = yaml.safe_load((CHART / "files" / "cluster-role-rules.yaml").read_text(encoding="utf-8"))


def verbs(group: str, resource: str) -> set[str]:
    return {
        verb
        for rule in RULES
        if group in rule["apiGroups"] and resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_every_flag_of_the_deployment_is_one_of_the_operator():
    command = typer.main.get_command(app)
    known = {flag for parameter in command.params for flag in parameter.opts}
    used = set(re.findall(r"- (--[a-z-]+)=", DEPLOYMENT))
    assert {"--liveness-port", "--metrics-port", "--cache-dir", "--namespace"} <= used
    assert used <= known


def test_every_variable_of_the_deployment_is_one_that_the_operator_reads():
    command = typer.main.get_command(app)
    known = set()
    for parameter in command.params:
        names = parameter.envvar or ()
        known |= {names} if isinstance(names, str) else set(names)
    used = set(re.findall(r"- name: ([A-Z_]+)$", DEPLOYMENT, flags=re.MULTILINE))
    assert used - {"NUMBA_CACHE_DIR"} <= known
    assert {"POD_NAMESPACE", "POD_UID"} <= used


@pytest.mark.parametrize("name", [path.name for path in sorted(CHART.glob("templates/*.*"))])
def test_every_value_that_a_template_reads_is_in_the_values_file(name):
    text = (CHART / "templates" / name).read_text(encoding="utf-8")
    for path in re.findall(r"\.Values\.([A-Za-z.]+)", text):
        found = VALUES
        for part in path.split("."):
            assert part in found, f"{path} is not in values.yaml"
            found = found[part]


def test_there_is_one_replica_and_never_two_at_a_time():
    assert re.search(r"replicas: 1\n  strategy:\n    type: Recreate", DEPLOYMENT)


def test_every_kind_that_is_watched_may_be_watched():
    for watched in WATCHED:
        assert {"list", "watch"} <= verbs(watched.kind.group, watched.kind.plural)


def test_nothing_may_be_done_to_what_is_only_read():
    assert verbs("", "nodes") == verbs("", "pods") == {"list", "watch"}
    assert verbs(kinds.GPU_POOLS.group, "gpupools") == {"list", "watch"}
    assert "secrets" not in {resource for rule in RULES for resource in rule["resources"]}
    assert not any("*" in part for rule in RULES for values in rule.values() for part in values)


def test_pods_that_ended_and_foreign_deployments_are_not_even_sent_to_the_operator():
    settings = build_settings("the-lease", SELECTOR)
    selectors = {str(key): value for key, value in settings.watching.label_selectors.items()}
    assert set(selectors.values()) == {SELECTOR}
    assert len(selectors) == len(kinds.CHILD_KINDS)
    fields = set(settings.watching.field_selectors.values())
    assert "metadata.name=the-lease" in fields
    assert "status.phase!=Succeeded,status.phase!=Failed" in fields
    assert not settings.posting.enabled
