"""The command line explains itself, and takes its settings from flags or the environment."""

from __future__ import annotations

import json
import logging

import pytest
import typer
from typer.testing import CliRunner

from coral_operator.main import JsonFormatter, app, configure_logging
from coral_operator.settings import LogFormat


@pytest.fixture(autouse=True)
def _same_logging():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.getLogger("kopf").setLevel(logging.NOTSET)


def test_help_says_what_the_operator_does_and_names_every_variable():
    result = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for word in ("ServingPlan", "Shadow", "KUBECONFIG", "CORAL_CACHE_DIR", "--lease-name"):
        assert word in result.output


def test_without_a_cluster_it_ends_with_a_sentence_and_not_a_traceback(caplog, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    result = CliRunner().invoke(app, ["--metrics-port", "0"], env={"KUBECONFIG": ""})
    assert result.exit_code == 1
    assert result.exception is None or isinstance(result.exception, SystemExit)


def test_an_unknown_log_level_is_refused():
    with pytest.raises(typer.BadParameter, match="unknown log level 'LOUD'"):
        configure_logging(LogFormat.TEXT, "LOUD")


def test_json_log_lines_are_json():
    record = logging.LogRecord("coral", logging.INFO, "f", 1, "said %s", ("a\nb",), None)
    line = json.loads(JsonFormatter().format(record))
    assert (line["message"], line["level"]) == ("said a\nb", "INFO")
