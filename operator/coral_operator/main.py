"""Entry point ``coral-operator``.

Imports little before the command line is read: ``--help`` answers at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import sys
import uuid
from typing import Annotated

import typer

from coral_operator.settings import LogFormat, Settings
from coral_solver.domain.errors import CoralError

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def operator(
    kubeconfig: Annotated[
        str | None,
        typer.Option(
            envvar="KUBECONFIG",
            help="File to find the cluster with. Without it: the pod's service account.",
        ),
    ] = None,
    namespace: Annotated[
        list[str] | None,
        typer.Option(
            envvar="CORAL_NAMESPACES",
            help="Plan only for services of this namespace; repeat it for several. Without it: "
            "all namespaces. GPUs are always counted over the whole cluster.",
        ),
    ] = None,
    lease_namespace: Annotated[
        str,
        typer.Option(
            envvar=["CORAL_LEASE_NAMESPACE", "POD_NAMESPACE"],
            help="Namespace of the Lease; of all operators that share it, one acts.",
        ),
    ] = "default",
    lease_name: Annotated[
        str, typer.Option(envvar="CORAL_LEASE_NAME", help="Name of the Lease.")
    ] = "coral-operator",
    identity: Annotated[
        str | None,
        typer.Option(
            envvar=["CORAL_IDENTITY", "POD_UID"],
            help="Name in the Lease; must be unique. Without it: host name and a random part.",
        ),
    ] = None,
    liveness_port: Annotated[
        int,
        typer.Option(
            envvar="CORAL_LIVENESS_PORT",
            min=0,
            max=65535,
            help="Port of /healthz, which fails when the loop is stuck; 0: none.",
        ),
    ] = 8080,
    metrics_port: Annotated[
        int,
        typer.Option(
            envvar="CORAL_METRICS_PORT", min=0, max=65535, help="Port of /metrics; 0: none."
        ),
    ] = 9090,
    cache_dir: Annotated[
        str | None,
        typer.Option(
            envvar="CORAL_CACHE_DIR",
            help="Folder to keep serving templates in between plans and restarts. Without it: "
            "in memory only.",
        ),
    ] = None,
    engine_image: Annotated[
        str | None,
        typer.Option(
            envvar="CORAL_ENGINE_IMAGE", help="vLLM image for models that name none themselves."
        ),
    ] = None,
    resync_seconds: Annotated[
        float,
        typer.Option(
            envvar="CORAL_RESYNC_SECONDS",
            min=1.0,
            help="Longest time between two looks at the whole cluster.",
        ),
    ] = 60.0,
    plan_history: Annotated[
        int,
        typer.Option(
            envvar="CORAL_PLAN_HISTORY", min=1, help="ServingPlans to keep, per mode of services."
        ),
    ] = 10,
    log_format: Annotated[
        LogFormat, typer.Option(envvar="CORAL_LOG_FORMAT", help="How log lines look.")
    ] = LogFormat.TEXT,
    log_level: Annotated[
        str, typer.Option(envvar="CORAL_LOG_LEVEL", help="DEBUG, INFO, WARNING or ERROR.")
    ] = "INFO",
) -> None:
    """Plan all LLMs of a Kubernetes cluster together, and run the plan.

    Watches MultiLLMServices, nodes and pods; writes a ServingPlan whenever demand or capacity
    changes; keeps one pinned Deployment per pipeline stage of every planned instance. Services in
    Shadow mode are planned only. How to plan is set in the PlanningPolicy named "default".

    Try it on a laptop: coral-operator --kubeconfig ~/.kube/config
    """
    configure_logging(log_format, log_level)
    settings = Settings(
        kubeconfig=kubeconfig or None,
        namespaces=frozenset(namespace) if namespace else None,
        lease_namespace=lease_namespace,
        lease_name=lease_name,
        identity=identity or f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}",
        liveness_port=liveness_port,
        metrics_port=metrics_port,
        cache_dir=cache_dir,
        engine_image=engine_image,
        resync_s=resync_seconds,
        plan_history=plan_history,
    )
    if kubeconfig:
        # kopf's own log-in reads the variable.
        os.environ["KUBECONFIG"] = kubeconfig
    from coral_operator.run import operate

    try:
        asyncio.run(operate(settings))
    except CoralError as error:
        logging.getLogger("coral_operator").error("%s: %s", error.reason, error)
        raise typer.Exit(1) from None


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as JSON."""
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure_logging(log_format: LogFormat, level: str) -> None:
    """Log to stderr.

    Raises
    ------
    typer.BadParameter
        If there is no such level.
    """
    if level.upper() not in logging.getLevelNamesMapping():
        raise typer.BadParameter(f"unknown log level {level!r}; use DEBUG, INFO, WARNING or ERROR")
    handler = logging.StreamHandler(sys.stderr)
    if log_format is LogFormat.JSON:
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # What kopf says of every object and every reconnection is for its own debugging.
    if level.upper() != "DEBUG":
        logging.getLogger("kopf").setLevel(logging.WARNING)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
