"""Result files of ``vllm bench serve`` and ``guidellm benchmark``: their runs, in our units.

Formats: vLLM writes one JSON object per run (``vllm/benchmarks/serve.py``, options
``--save-result`` and ``--append-result``); guidellm one report of several benchmarks
(``src/guidellm/benchmark/schemas/generative/``), whose ``time_per_output_token_ms`` counts the
first token and whose ``inter_token_latency_ms`` is what everybody else calls TPOT.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from coral_solver.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MS = 1000.0


def _rate(value: object) -> object:
    return math.inf if value == "inf" else value


Finite = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0.0)]
Count = Annotated[int, Field(strict=True, ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkRun:
    """One run as a result file has it; what it does not have is None.

    Attributes
    ----------
    place
        File, and which of its runs.
    tool
        What wrote it.
    model
        Name of the model as the server knew it.
    input_tokens, output_tokens
        Mean lengths of the requests that were answered.
    concurrency, request_rate_req_per_s
        As in ``MeasuredPoint``.
    completed, failed
        Requests.
    ttft_s, tpot_s, output_tokens_per_s
        As in ``MeasuredPoint``.
    median_ttft_s
        Median time to the first token.
    warnings
        What looks wrong in the file itself, in words.
    """

    place: str
    tool: str
    model: str | None
    input_tokens: float
    output_tokens: float
    concurrency: float | None
    request_rate_req_per_s: float | None
    completed: int
    failed: int
    ttft_s: float | None
    tpot_s: float | None
    output_tokens_per_s: float | None
    median_ttft_s: float | None
    warnings: tuple[str, ...] = ()


class _VllmRun(BaseModel):
    """What is read of a run of ``vllm bench serve``."""

    model_config = ConfigDict(extra="ignore")

    model_id: str | None = None
    num_prompts: Count | None = None
    request_rate: Annotated[float, BeforeValidator(_rate), Field(strict=True, gt=0.0)] = math.inf
    max_concurrency: Annotated[int, Field(strict=True, gt=0)] | None = None
    ramp_up_strategy: str | None = None
    completed: Count
    failed: Count | None = None
    total_input_tokens: Count
    total_output_tokens: Count
    output_throughput: Finite
    mean_ttft_ms: Finite | None = None
    median_ttft_ms: Finite | None = None
    mean_tpot_ms: Finite | None = None
    spec_decode_acceptance_rate: float | None = None


class _Mean(BaseModel):
    model_config = ConfigDict(extra="ignore")

    mean: Finite
    median: Finite | None = None


class _ByStatus(BaseModel):
    model_config = ConfigDict(extra="ignore")

    successful: _Mean
    total: _Mean | None = None


class _Totals(BaseModel):
    model_config = ConfigDict(extra="ignore")

    successful: Count
    incomplete: Count = 0
    errored: Count = 0


class _Metrics(BaseModel):
    model_config = ConfigDict(extra="ignore")

    request_totals: _Totals | None = None
    request_concurrency: _ByStatus | None = None
    prompt_token_count: _ByStatus
    output_token_count: _ByStatus
    time_to_first_token_ms: _ByStatus | None = None
    inter_token_latency_ms: _ByStatus | None = None
    output_tokens_per_second: _ByStatus


class _Strategy(BaseModel):
    model_config = ConfigDict(extra="ignore")

    type_: str
    streams: Annotated[int, Field(strict=True, gt=0)] | None = None
    max_concurrency: Annotated[int, Field(strict=True, gt=0)] | None = None
    rate: Annotated[Finite, Field(gt=0.0)] | None = None


class _GuidellmRun(BaseModel):
    """What is read of one benchmark of a guidellm report, after ``_guidellm_parts``."""

    model_config = ConfigDict(extra="ignore")

    strategy: _Strategy
    metrics: _Metrics
    requests_made: _Totals | None = None
    model: str | None = None


def read_results(path: Path) -> tuple[BenchmarkRun, ...]:
    """Read the runs of a result file; which of the two tools wrote it is seen from its keys.

    Parameters
    ----------
    path
        JSON; for vLLM also one object a line, or a list.

    Raises
    ------
    InvalidInputError
        With every fault of the file.
    """
    value = _load(path)
    if isinstance(value, dict) and isinstance(value.get("benchmarks"), list):
        return _runs(path, value["benchmarks"], lambda run, at: _guidellm_run(run, value, at))
    found = value if isinstance(value, list) else [value]
    if found and all(isinstance(run, dict) and "output_throughput" in run for run in found):
        return _runs(path, found, _vllm_run)
    raise InvalidInputError(
        [
            f"{path}: neither a result of `vllm bench serve --save-result` (no key"
            " output_throughput) nor a report of `guidellm benchmark` (no list benchmarks)"
        ]
    )


def _load(path: Path) -> Any:  # noqa: ANN401 - whatever JSON holds
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else "not UTF-8 text"
        raise InvalidInputError([f"{path}: cannot be read: {reason}"]) from fault
    try:
        return json.loads(text)
    except RecursionError:
        raise InvalidInputError([f"{path}: nested too deeply"]) from None
    except json.JSONDecodeError as fault:
        first = fault
    # --append-result writes one object a line.
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()] or {}
    except json.JSONDecodeError:
        raise InvalidInputError([f"{path}:{first.lineno}: not JSON: {first.msg}"]) from first


def _runs(
    path: Path, found: list[Any], read: Callable[[Any, str], BenchmarkRun]
) -> tuple[BenchmarkRun, ...]:
    """Read all runs of a file, and collect what is wrong with each."""
    runs, problems = [], []
    for number, value in enumerate(found, start=1):
        place = str(path) if len(found) == 1 else f"{path}, run {number}"
        try:
            run = read(value, place)
        except ValidationError as error:
            problems += [
                f"{place}: {'.'.join(map(str, detail['loc']))}: {_words(detail['msg'])}"
                + (
                    f", not {detail['input']!r}"
                    if isinstance(detail["input"], (int, float))
                    else ""
                )
                for detail in error.errors(include_url=False)
            ]
        except InvalidInputError as error:
            problems += error.problems
        else:
            if run.completed == 0:
                problems.append(f"{place}: no request was answered: there is nothing to learn")
            else:
                runs.append(run)
    if not found:
        problems.append(f"{path}: the report has no benchmark")
    if problems:
        raise InvalidInputError(problems)
    return tuple(runs)


def _words(message: str) -> str:
    text = message[0].lower() + message[1:]
    return "this key is missing" if text == "field required" else text


def _vllm_run(value: Any, place: str) -> BenchmarkRun:  # noqa: ANN401 - validated here
    run = _VllmRun.model_validate(value)
    if run.ramp_up_strategy is not None:
        raise InvalidInputError(
            [f"{place}: the request rate was ramped up; measure at one rate, or one concurrency"]
        )
    rate = None if math.isinf(run.request_rate) else run.request_rate
    sent = run.num_prompts or run.completed
    clients: float | None = run.max_concurrency
    if rate is None and (clients is None or sent <= clients):
        clients = math.inf
    failed = run.failed if run.failed is not None else max(0, sent - run.completed)
    warnings = []
    if run.spec_decode_acceptance_rate is not None:
        warnings.append("speculative decoding was on: it is not in the performance model")
    return BenchmarkRun(
        place=place,
        tool="vllm bench serve",
        model=run.model_id,
        input_tokens=run.total_input_tokens / max(1, run.completed),
        output_tokens=run.total_output_tokens / max(1, run.completed),
        concurrency=clients,
        request_rate_req_per_s=rate,
        completed=run.completed,
        failed=failed,
        ttft_s=_seconds(run.mean_ttft_ms),
        tpot_s=_seconds(run.mean_tpot_ms),
        output_tokens_per_s=run.output_throughput or None,
        median_ttft_s=_seconds(run.median_ttft_ms),
        warnings=tuple(warnings),
    )


def _guidellm_run(value: Any, report: dict[str, Any], place: str) -> BenchmarkRun:  # noqa: ANN401 - as above
    run = _GuidellmRun.model_validate(_guidellm_parts(value, report))
    metrics, strategy = run.metrics, run.strategy
    totals = metrics.request_totals or run.requests_made or _Totals(successful=0)
    ttft = metrics.time_to_first_token_ms
    warnings = []
    if strategy.type_ == "throughput" and strategy.max_concurrency is None:
        ttft = None
        warnings.append("requests were sent without a limit: how long they queued is left out")
    throughput = metrics.output_tokens_per_second
    return BenchmarkRun(
        place=place,
        tool="guidellm",
        model=run.model,
        input_tokens=metrics.prompt_token_count.successful.mean,
        output_tokens=metrics.output_token_count.successful.mean,
        concurrency=_clients(strategy, metrics, place),
        request_rate_req_per_s=strategy.rate,
        completed=totals.successful,
        failed=totals.errored,
        ttft_s=_seconds(ttft.successful.mean) if ttft else None,
        tpot_s=_seconds(
            metrics.inter_token_latency_ms.successful.mean
            if metrics.inter_token_latency_ms
            else None
        ),
        # Tokens of requests that the end of the run cut off were made, too.
        output_tokens_per_s=(throughput.total or throughput.successful).mean or None,
        median_ttft_s=_seconds(ttft.successful.median) if ttft else None,
        warnings=tuple(warnings),
    )


def _guidellm_parts(value: Any, report: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - as above
    """Pick out what is read, from where the versions 0.2 to 0.5 of guidellm have it."""
    strategy = next(
        (
            found
            for part in ("config", "scheduler", "args")
            if (found := _inside(value, part, "strategy")) is not None
        ),
        None,
    )
    made = _inside(value, "scheduler_metrics", "requests_made") or _inside(
        value, "run_stats", "requests_made"
    )
    model = (
        _inside(value, "config", "backend", "model")
        or _inside(report, "args", "model")
        or _inside(value, "worker", "backend_model")
    )
    parts: dict[str, Any] = {"requests_made": made}
    parts["model"] = model if isinstance(model, str) else None
    if strategy is not None:
        parts["strategy"] = strategy
    if (metrics := _inside(value, "metrics")) is not None:
        parts["metrics"] = metrics
    return parts


def _inside(value: Any, *path: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _clients(strategy: _Strategy, metrics: _Metrics, place: str) -> float | None:
    match strategy.type_:
        case "synchronous":
            return 1
        case "concurrent" if strategy.streams is not None:
            return strategy.streams
        case "throughput":
            # Without a limit of its own guidellm has one: every answer lets the next request go.
            inside = metrics.request_concurrency
            seen = round((inside.total or inside.successful).mean) if inside else 0
            return strategy.max_concurrency or seen or math.inf
        case "constant" | "poisson" if strategy.rate is not None:
            return strategy.max_concurrency
    raise InvalidInputError(
        [
            f"{place}: the load of strategy {strategy.type_!r} is not known; use synchronous,"
            " concurrent, throughput, constant or poisson"
        ]
    )


def _seconds(milliseconds: float | None) -> float | None:
    """Convert; 0 stands for "not measured" in both formats."""
    return milliseconds / MS if milliseconds else None
