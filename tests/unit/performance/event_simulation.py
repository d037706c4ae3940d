"""A discrete-event simulation of continuous batching: the oracle of the capacity rules.

It schedules as vLLM's V1 engine does: decoding sequences first, then prompts in order of arrival
in chunks within the token budget, at most ``max_num_seqs`` running, KV cache held token by token
with preemption of the youngest by recomputation. A pipeline of S stages has up to S batches in
flight; a sequence stays with the batch that finished its prompt. It shares the step times of
single stages with the rules, and nothing else.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from coral_solver.domain.workload import Phase
from coral_solver.performance import memory
from coral_solver.performance.steps import StepLoad, StepModel
from coral_solver.performance.tables import StageRole, role_of


@dataclass(slots=True)
class Request:
    """One request and what happens to it."""

    arrival_s: float
    input_tokens: int
    output_tokens: int
    prompt_left: int = 0
    kv_tokens: int = 0
    produced: int = 0
    first_s: float = -1.0
    last_s: float = -1.0
    preempted: int = 0


@dataclass(slots=True)
class Batch:
    """A group of decoding sequences that is scheduled together, and the chunk that it carries."""

    decoding: list[Request] = field(default_factory=list)
    ending: list[Request] = field(default_factory=list)
    returns_s: float = 0.0


class StageClock:
    """Step times of one stage as a table over tokens, plus terms linear in attention work."""

    def __init__(self, steps: StepModel, role: StageRole, layers: int, most_tokens: int) -> None:
        tokens = np.arange(most_tokens + 1, dtype=np.float64)
        base = StepLoad(tokens, 0.0, 0.0, 0.0, 0.0)
        none = StepLoad(tokens, 0.0, 0.0, 0.0, tokens)
        self.by_tokens = (layers * steps.layer_s(base)).tolist()
        move = steps.extra_s(role, StepLoad(tokens, 0.0, 0.0, 0.0, 0.0))
        self.by_sampled = (steps.extra_s(role, none) - move).tolist()
        self.by_move = move.tolist()
        self.decode_s = layers * float(
            steps.layer_s(StepLoad(1.0, 1000.0, 0.0, 0.0, 0.0))
            - steps.layer_s(StepLoad(1.0, 0.0, 0.0, 0.0, 0.0))
        )
        self.prompt_s = layers * float(
            steps.layer_s(StepLoad(0.0, 0.0, 1.0, 1000.0, 0.0))
            - steps.layer_s(StepLoad(0.0, 0.0, 1.0, 0.0, 0.0))
        )
        self.full_context = self.effective(steps, 1000.0)
        self.window = steps.arch.sliding_window_tokens
        self.share = memory.sliding_share(steps.arch)
        self.factor = steps.parameters.window_bytes_factor

    @staticmethod
    def effective(steps: StepModel, context: float) -> float:
        share = memory.sliding_share(steps.arch)
        window = min(context, steps.arch.sliding_window_tokens)
        return (1 - share) * context + share * steps.parameters.window_bytes_factor * window

    def step_s(self, decodes: int, context: float, chunks: list[tuple[int, float]]) -> float:
        """Return the step time: decoding sequences with mean context, prompt chunks with theirs."""
        tokens = decodes + sum(n for n, _ in chunks)
        sampled = decodes + len(chunks)
        time = self.by_tokens[tokens] + self.by_move[tokens] + self.by_sampled[sampled]
        if decodes:
            time += self.decode_s * decodes * self._scaled(context)
        for n, mean in chunks:
            time += self.prompt_s * n * self._scaled(mean)
        return time

    def _scaled(self, context: float) -> float:
        window = min(context, self.window)
        full = (1 - self.share) * context + self.share * self.factor * window
        return full / self.full_context


@dataclass(frozen=True, slots=True)
class Engine:
    """A pipeline with its settings."""

    stages: list[StageClock]
    max_num_seqs: int
    budget_tokens: int
    kv_limit_tokens: float
    phase: Phase = Phase.WHOLE


def engine(
    models: list[StepModel],
    layers: list[int],
    *,
    max_num_seqs: int,
    budget_tokens: int,
    kv_limit_tokens: float = float("inf"),
    phase: Phase = Phase.WHOLE,
) -> Engine:
    """Build an engine from the step models and layer counts of its stages."""
    most = max(budget_tokens, max_num_seqs) + 1
    clocks = [
        StageClock(steps, role_of(i, len(layers)), j, most)
        for i, (steps, j) in enumerate(zip(models, layers, strict=True))
    ]
    return Engine(clocks, max_num_seqs, budget_tokens, kv_limit_tokens, phase)


def arrivals(
    rate: float,
    count: int,
    *,
    input_points: tuple[float, ...],
    output_points: tuple[float, ...],
    burstiness: float,
    seed: int,
) -> list[Request]:
    """Draw requests: gamma times between arrivals, independent lengths from the points."""
    rng = np.random.default_rng(seed)
    gaps = rng.gamma(1.0 / burstiness, burstiness / rate, count)
    times = np.cumsum(gaps)
    inputs = rng.choice(np.maximum(1, np.round(input_points)), count).astype(int)
    outputs = rng.choice(np.maximum(1, np.round(output_points)), count).astype(int)
    return [
        Request(float(t), int(i), int(o)) for t, i, o in zip(times, inputs, outputs, strict=True)
    ]


def simulate(setup: Engine, requests: list[Request]) -> None:
    """Run all requests through the engine; fills in their times."""
    waiting: deque[Request] = deque()
    prefilling: deque[Request] = deque()
    free_s = [0.0] * len(setup.stages)
    flight: list[tuple[float, int, Batch]] = []
    running = kv_used = order = upcoming = 0
    now_s = 0.0
    finished = 0

    def schedule(batch: Batch) -> bool:
        nonlocal running, kv_used, order
        # Room for one more token of every decoding sequence; the youngest give way.
        while batch.decoding and kv_used + len(batch.decoding) > setup.kv_limit_tokens:
            victim = batch.decoding.pop()
            kv_used -= victim.kv_tokens
            victim.prompt_left = victim.input_tokens + victim.produced
            victim.kv_tokens = 0
            victim.preempted += 1
            running -= 1
            waiting.appendleft(victim)
        decodes = len(batch.decoding)
        budget = setup.budget_tokens - decodes
        kv_used += decodes
        chunks: list[tuple[int, float]] = []

        def feed(request: Request) -> bool:
            """Schedule a chunk of a prompt; return whether the prompt is done with it."""
            nonlocal budget, kv_used
            n = min(request.prompt_left, budget)
            chunks.append((n, request.kv_tokens + n / 2))
            request.prompt_left -= n
            request.kv_tokens += n
            kv_used += n
            budget -= n
            if request.prompt_left == 0:
                batch.ending.append(request)
                return True
            return False

        while prefilling and budget > 0:
            if kv_used + min(prefilling[0].prompt_left, budget) > setup.kv_limit_tokens:
                break
            if feed(prefilling[0]):
                prefilling.popleft()
        while waiting and budget > 0 and running < setup.max_num_seqs and not prefilling:
            request = waiting[0]
            if kv_used + min(request.prompt_left, budget) > setup.kv_limit_tokens:
                break
            waiting.popleft()
            running += 1
            if setup.phase is Phase.DECODE and request.preempted == 0:
                # The prompt's KV cache came over the network; it decodes from the next step on.
                kv_used += request.prompt_left + 1
                request.kv_tokens, request.prompt_left = request.prompt_left, 0
                batch.decoding.append(request)
                decodes += 1
                budget -= 1
                continue
            if not feed(request):
                prefilling.append(request)
        if not decodes and not chunks:
            return False
        context = sum(r.kv_tokens for r in batch.decoding) / decodes if decodes else 0.0
        for request in batch.decoding:
            request.kv_tokens += 1
        start_s = now_s
        for s, clock in enumerate(setup.stages):
            start_s = max(start_s, free_s[s]) + clock.step_s(decodes, context, chunks)
            free_s[s] = start_s
        batch.returns_s = start_s
        order += 1
        heapq.heappush(flight, (start_s, order, batch))
        return True

    def complete(batch: Batch) -> None:
        nonlocal running, kv_used, finished
        still: list[Request] = []
        for request in batch.decoding + batch.ending:
            if request.first_s < 0.0:
                request.first_s = now_s
            request.produced += 1
            if request.produced >= request.output_tokens or setup.phase is Phase.PREFILL:
                request.last_s = now_s
                running -= 1
                kv_used -= request.kv_tokens
                finished += 1
            else:
                still.append(request)
        batch.decoding, batch.ending = still, []

    while finished < len(requests):
        # Whatever comes first: an arrival, or the return of the oldest batch.
        next_arrival_s = requests[upcoming].arrival_s if upcoming < len(requests) else float("inf")
        if flight and flight[0][0] <= next_arrival_s:
            now_s, _, batch = heapq.heappop(flight)
            complete(batch)
            schedule(batch)
        else:
            request = requests[upcoming]
            upcoming += 1
            now_s = request.arrival_s
            request.prompt_left = request.input_tokens
            waiting.append(request)
        while len(flight) < len(setup.stages) and (waiting or prefilling):
            if not schedule(Batch()):
                break


@dataclass(frozen=True, slots=True)
class Outcome:
    """Shares of requests within the targets, and how often sequences were preempted."""

    ttft_share: float
    tpot_share: float
    attainment: float
    preempted_share: float
    mean_tpot_s: float
    mean_ttft_s: float


def outcome(
    requests: list[Request],
    *,
    ttft_s: float,
    tpot_s: float,
    phase: Phase = Phase.WHOLE,
    skip_share: float = 0.15,
) -> Outcome:
    """Measure the requests after a warm-up, those of the tail included."""
    measured = requests[int(len(requests) * skip_share) :]
    first = np.array([r.first_s - r.arrival_s for r in measured])
    if phase is Phase.DECODE:
        per_token = np.array([(r.last_s - r.arrival_s) / r.output_tokens for r in measured])
    else:
        per_token = np.array(
            [(r.last_s - r.first_s) / max(1, r.output_tokens - 1) for r in measured]
        )
    in_time = first <= ttft_s if phase is not Phase.DECODE else np.ones(len(first), dtype=bool)
    fast = per_token <= tpot_s if phase is not Phase.PREFILL else np.ones(len(first), dtype=bool)
    return Outcome(
        float(in_time.mean()),
        float(fast.mean()),
        float((in_time & fast).mean()),
        float(np.mean([r.preempted > 0 for r in measured])),
        float(per_token.mean()),
        float(first.mean()),
    )
