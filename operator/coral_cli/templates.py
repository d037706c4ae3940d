"""``coral templates``: the ways to run a model, by what a request costs on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from coral_cli.options import (
    CACHE_DIR,
    CLUSTER,
    CONTEXT,
    FILES,
    INVENTORY,
    KUBECONFIG,
    MAX_NODES,
)
from coral_cli.progress import progress_on_stderr
from coral_cli.render import error_bar, table_console

if TYPE_CHECKING:
    from coral_solver.domain.hardware import NodeConfig
    from coral_solver.domain.template import ServingTemplate

SECONDS_PER_HOUR = 3600.0


def templates(
    files: Annotated[list[Path], FILES],
    cluster: Annotated[Path | None, CLUSTER] = None,
    inventory: Annotated[Path | None, INVENTORY] = None,
    kubeconfig: Annotated[Path | None, KUBECONFIG] = None,
    context: Annotated[str | None, CONTEXT] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Only these models (id, or its last part).")
    ] = None,
    top: Annotated[int, typer.Option(help="How many to show per model and phase.", min=1)] = 10,
    max_nodes: Annotated[int, MAX_NODES] = 6,
    cache_dir: Annotated[Path | None, CACHE_DIR] = None,
) -> None:
    """List the ways to run each model on the GPUs on offer, cheapest per request first.

    `coral templates -f examples/three-models.yaml --inventory examples/inventory.csv --model phi-4`

    The price is that of the cheapest pool that has the GPUs; availability is not looked at.
    """
    from coral_cli.inputs import only_models, read_problem, say_what_was_left_out
    from coral_solver.domain.hardware import cheapest_usd_per_hour, configs_on_offer
    from coral_solver.domain.plan import with_measurements
    from coral_solver.templates.cache import default_cache_dir
    from coral_solver.templates.library import LibraryOptions, TemplateLibrary

    with progress_on_stderr() as step:
        read = only_models(
            read_problem(
                files, cluster=cluster, inventory=inventory, kubeconfig=kubeconfig, context=context
            ),
            model or (),
        )
        step("stage 1: templates", None)
        library = TemplateLibrary(
            LibraryOptions(max_nodes=max_nodes, cache_dir=cache_dir or default_cache_dir())
        )
        configs = configs_on_offer(read.problem.pools)
        prices = {config: cheapest_usd_per_hour(config, read.problem.pools) for config in configs}
        models = with_measurements(read.problem).models
        found = {served.id: library.templates(served, configs) for served in models}
    console = table_console()
    for model_id, all_templates in found.items():
        for phase in dict.fromkeys(template.phase for template in all_templates):
            ranked = sorted(
                (template for template in all_templates if template.phase is phase),
                key=lambda template: _usd_per_thousand_requests(template, prices),
            )
            title = f"{model_id}, {phase}: {len(ranked)} templates"
            console.print(_table(title, ranked[:top], prices))
        if not all_templates:
            console.print(
                f"{model_id}: no template: no GPU on offer that it may use holds it and meets its"
                " targets"
            )
    say_what_was_left_out(read)


def _usd_per_hour(template: ServingTemplate, prices: dict[NodeConfig, float]) -> float:
    return sum(prices[config] * count for config, count in template.config_counts.items())


def _usd_per_thousand_requests(template: ServingTemplate, prices: dict[NodeConfig, float]) -> float:
    per_second = _usd_per_hour(template, prices) / SECONDS_PER_HOUR
    return 1000.0 * per_second / template.capacity_req_per_s


def _table(title: str, ranked: list[ServingTemplate], prices: dict[NodeConfig, float]) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("stages (layers on GPUs)")
    for column in ("req/s", "USD/h", "USD per 1,000 requests", "TTFT", "TPOT", "error bar"):
        table.add_column(column, justify="right")
    for template in ranked:
        prediction = template.prediction
        table.add_row(
            ", ".join(
                f"{stage.layers} on {'+'.join(map(str, stage.configs))}"
                for stage in template.stages
            ),
            f"{template.capacity_req_per_s:.2f}",
            f"{_usd_per_hour(template, prices):.2f}",
            f"{_usd_per_thousand_requests(template, prices):.3f}",
            # A phase of its own has one of the two.
            f"{prediction.ttft_s * 1000:.0f} ms" if prediction.ttft_s > 0 else "-",
            f"{prediction.tpot_s * 1000:.1f} ms" if prediction.tpot_s > 0 else "-",
            error_bar(prediction.error_share),
        )
    return table
