"""Compiled kernels of the ``operator`` capacity rule, callable from stage 1's own kernels.

Formulas with their names: docs/model-performance.md, "Operator rule".
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from coral_solver.performance.compiled import compiled, compiled_as

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Row = NDArray[np.float64]

# Columns of JointTables.point_params.
POINT_SEQS = 0
"""Decoding sequences of one micro-batch; 0 for PREFILL."""
POINT_BUDGET = 1
"""Token budget of one step."""
POINT_PREFILL = 2
"""Prompt tokens of the point's typical step: for PREFILL the whole budget, for WHOLE those of the
highest rate that the point stands for."""
POINT_COLUMNS = 3

# Entries of JointTables.request_params; the input points follow, then the output points.
REQUEST_PHASE = 0
REQUEST_TTFT = 1
"""TTFT target less the time outside the engine."""
REQUEST_TPOT = 2
REQUEST_ATTAINMENT = 3
REQUEST_BURSTINESS = 4
REQUEST_INPUT = 5
REQUEST_INPUT_CV2 = 6
REQUEST_OUTPUT = 7
REQUEST_OUTPUT_CV2 = 8
REQUEST_NUM_POINTS = 9
REQUEST_OVERHEAD = 10
"""Time of a request outside the engine; the TTFT entry is already net of it."""
REQUEST_POINTS = 11

PHASE_PREFILL = 0.0
PHASE_DECODE = 1.0
PHASE_WHOLE = 2.0

BISECTIONS = 30
"""Halvings of the rate interval: a relative precision of 1e-9."""

WAIT_SAFETY = 1.25
"""Factor on mean waits: what two moments do not see. Set against the event simulation."""


@compiled
def _wait_tail(
    wait_s: float, first_p: float, first_s: float, second_p: float, second_s: float
) -> float:
    """Return P(X + Y > wait) of two independent waits, each 0 or exponential."""
    if wait_s < 0.0:
        return 1.0
    first = math.exp(-wait_s / first_s) if first_s > 0.0 else 0.0
    second = math.exp(-wait_s / second_s) if second_s > 0.0 else 0.0
    gap = first_s - second_s
    if abs(gap) > 1e-6 * (first_s + second_s):
        both = (first_s * first - second_s * second) / gap
    else:
        both = first * (1.0 + (wait_s / first_s if first_s > 0.0 else 0.0))
    return (
        first_p * (1.0 - second_p) * first
        + (1.0 - first_p) * second_p * second
        + first_p * second_p * both
    )


@compiled
def _slot_wait(
    rate: float,
    service_s: float,
    slots: float,
    burstiness: float,
    service_cv2: float,
    feedback: float,
) -> tuple[float, float]:
    """Return (P(wait), mean wait of those that wait) for a free slot: Allen-Cunneen.

    P(wait) is Sakasegawa's power of the utilisation; what makes the number of running sequences
    fluctuate more than a Poisson variable acts like fewer slots (Hayward): bursty arrivals, with
    the peakedness ``(1 + burstiness) / 2``, and the feedback of prompts that slow down all.
    """
    load = rate * service_s / slots
    peaked = max(1.0, 0.5 * (1.0 + burstiness)) * feedback
    waits = load ** (math.sqrt(2.0 * (slots / peaked + 1.0)) - 1.0)
    mean = WAIT_SAFETY * service_s * 0.5 * (burstiness + service_cv2) / (slots * (1.0 - load))
    return waits, mean


@compiled
def _feedback(rate: float, work_s: float) -> float:
    """Return the factor by which fluctuations grow as prompts of some work slow down all others.

    That of the number of jobs under processor sharing, ``1 / (1 - load)``.
    """
    return 1.0 / max(1.0 - rate * work_s, 0.02)


@compiled
def _mean_prefill_steps(request: Row, room: float) -> float:
    """Return the mean number of steps that a prompt takes when each has room for some tokens."""
    n = int(request[REQUEST_NUM_POINTS])
    total = 0.0
    for i in range(n):
        total += math.ceil(request[REQUEST_POINTS + i] / room)
    return total / n


@compiled
def rate_ceiling(stages: int, point: Row, request: Row, tau_s: float, stretch: float) -> float:
    """Return the rate in req/s at which slots or token budget are used up: nobody would wait less.

    Cheap (no exponentials); 0 where the point misses the TPOT target at any rate.
    """
    phase = request[REQUEST_PHASE]
    seqs, room = point[POINT_SEQS], point[POINT_BUDGET] - point[POINT_SEQS]
    if phase == PHASE_PREFILL:
        return float(point[POINT_PREFILL] / (tau_s * request[REQUEST_INPUT]))
    if stages * tau_s > request[REQUEST_TPOT]:
        return 0.0
    service_s = stages * tau_s * request[REQUEST_OUTPUT]
    if phase == PHASE_DECODE:
        return float(stages * seqs / service_s)
    full_s = stretch * tau_s
    service_s += (_mean_prefill_steps(request, room) - 1.0) * full_s
    slots = stages * seqs / service_s
    tokens_per_s = min(room / full_s, point[POINT_PREFILL] / tau_s)
    return float(min(slots, tokens_per_s / request[REQUEST_INPUT]))


@compiled
def tpot_share(
    tpot_s: float,
    rate: float,
    stages: int,
    point: Row,
    request: Row,
    tau_s: float,
    stretch: float,
) -> float:
    """Return the share of requests whose time per output token is at most ``tpot_s``."""
    if request[REQUEST_PHASE] == PHASE_PREFILL:
        return 1.0
    slack = tpot_s - stages * tau_s
    if slack < 0.0:
        return 0.0
    n = int(request[REQUEST_NUM_POINTS])
    seqs = point[POINT_SEQS]
    share = 0.0
    if request[REQUEST_PHASE] == PHASE_DECODE:
        waits, mean = _slot_wait(
            rate,
            stages * tau_s * request[REQUEST_OUTPUT],
            stages * seqs,
            request[REQUEST_BURSTINESS],
            request[REQUEST_OUTPUT_CV2],
            1.0,
        )
        for i in range(n):
            length = request[REQUEST_POINTS + n + i]
            share += 1.0 - waits * math.exp(-slack * length / mean)
        return share / n
    room = point[POINT_BUDGET] - seqs
    token_s = (stretch - 1.0) * tau_s / (room - point[POINT_PREFILL])
    # Variance of the prefill work that falls into a request's residence: a random number of
    # prompts of random length. More work makes the residence longer, which lets in more work.
    spread = (1.0 + request[REQUEST_INPUT_CV2]) * max(1.0, request[REQUEST_BURSTINESS])
    work_s = token_s * request[REQUEST_INPUT]
    feedback = _feedback(rate, work_s)
    held_up = 1.0 + (stages - 1.0) / _mean_prefill_steps(request, room)
    prompt_s = held_up * work_s * math.sqrt(spread) * feedback
    for i in range(n):
        length = max(request[REQUEST_POINTS + n + i], 1.0)
        sigma = prompt_s * math.sqrt(rate * stages * tau_s * length) / length
        share += 0.5 * math.erfc(-slack / (sigma * math.sqrt(2.0))) if sigma > 0.0 else 1.0
    return share / n


@compiled
def ttft_share(
    ttft_s: float,
    rate: float,
    stages: int,
    point: Row,
    request: Row,
    tau_s: float,
    stretch: float,
) -> float:
    """Return the share of requests whose time to the first token in the engine is at most that."""
    phase = request[REQUEST_PHASE]
    if phase == PHASE_DECODE:
        return 1.0
    n = int(request[REQUEST_NUM_POINTS])
    mean_input, burstiness = request[REQUEST_INPUT], request[REQUEST_BURSTINESS]
    typical, full_s = point[POINT_PREFILL], stretch * tau_s
    variability = WAIT_SAFETY * 0.5 * (burstiness + request[REQUEST_INPUT_CV2])
    share = 0.0
    if phase == PHASE_PREFILL:
        # The stretch of a prefill stage is the share of a full step that an empty one takes.
        prompt_s = tau_s * mean_input / typical
        load = rate * prompt_s
        wait_s = prompt_s * variability / (1.0 - load)
        company = load * max(0.0, typical - mean_input)
        # A step in progress ends for all its prompts together, not for one prompt's share of it.
        together_s = 0.5 * load * max(0.0, tau_s - prompt_s)
        for i in range(n):
            length = request[REQUEST_POINTS + i]
            steps = math.ceil(length / typical)
            last = min(length - (steps - 1.0) * typical + company, typical)
            last_s = tau_s * (stretch + (1.0 - stretch) * last / typical)
            own_s = (steps - 1.0) * tau_s + stages * last_s + together_s
            share += 1.0 - _wait_tail(ttft_s - own_s, load, wait_s, 0.0, 0.0)
        return share / n
    seqs = point[POINT_SEQS]
    room = point[POINT_BUDGET] - seqs
    token_s = (full_s - tau_s) / (room - typical)
    service_s = stages * tau_s * request[REQUEST_OUTPUT]
    service_s += (_mean_prefill_steps(request, room) - 1.0) * full_s
    slot_p, slot_s = _slot_wait(
        rate,
        service_s,
        stages * seqs,
        burstiness,
        request[REQUEST_OUTPUT_CV2],
        _feedback(rate, token_s * mean_input),
    )
    prompt_s = mean_input * full_s / room
    load = rate * prompt_s
    queue_s = prompt_s * variability / (1.0 - load)
    for i in range(n):
        length = request[REQUEST_POINTS + i]
        steps = math.ceil(length / room)
        last = length - (steps - 1.0) * room
        own_s = (steps - 1.0) * full_s + stages * min(full_s, tau_s + token_s * last)
        wait_s = ttft_s - own_s - 0.5 * tau_s
        share += 1.0 - _wait_tail(wait_s, slot_p, slot_s, load, queue_s)
    return share / n


@compiled
def attainment(
    rate: float, stages: int, point: Row, request: Row, tau_s: float, stretch: float
) -> float:
    """Return the share of requests that meet TTFT and TPOT at a rate."""
    tpot = tpot_share(request[REQUEST_TPOT], rate, stages, point, request, tau_s, stretch)
    if tpot < request[REQUEST_ATTAINMENT]:
        return tpot
    return tpot * ttft_share(request[REQUEST_TTFT], rate, stages, point, request, tau_s, stretch)


_CAPACITY_TYPE = "float64(int64, float64[::1], float64[::1], float64, float64)"
_CAPACITY_ABOVE_TYPE = "float64(int64, float64[::1], float64[::1], float64, float64, float64)"


# Explicit types, so that stage 1 can pass the functions around inside its own kernels.
@compiled_as(_CAPACITY_ABOVE_TYPE)
def joint_capacity_above(
    stages: int,
    point: Row,
    request: Row,
    tau_s: float,
    stretch: float,
    floor_req_per_s: float,
) -> float:
    """Return ``joint_capacity`` if it exceeds a floor, else 0.0 after at most one evaluation.

    Parameters
    ----------
    stages, point, request, tau_s, stretch
        As of ``joint_capacity``.
    floor_req_per_s
        Rates up to this one are of no interest, for example the best one found so far.

    Returns
    -------
    float
        Requests per second.
    """
    ceiling = rate_ceiling(stages, point, request, tau_s, stretch)
    low = max(floor_req_per_s, ceiling * 1e-6)
    if ceiling <= low:
        return 0.0
    target = request[REQUEST_ATTAINMENT]
    if attainment(low, stages, point, request, tau_s, stretch) < target:
        return 0.0
    # The interval does not depend on the floor, so neither does the result.
    low = 0.0
    high = ceiling
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        if middle <= floor_req_per_s or (
            attainment(middle, stages, point, request, tau_s, stretch) >= target
        ):
            low = middle
        else:
            high = middle
    return low if low > floor_req_per_s else 0.0


@compiled_as(_CAPACITY_TYPE)
def joint_capacity(stages: int, point: Row, request: Row, tau_s: float, stretch: float) -> float:
    """Return the largest rate at which the attainment share of requests meets TTFT and TPOT.

    Parameters
    ----------
    stages
        Number of pipeline stages.
    point
        A row of ``JointTables.point_params``.
    request
        ``JointTables.request_params``.
    tau_s
        Largest step time of the stages at the point.
    stretch
        Largest stretch of the stages at the point.

    Returns
    -------
    float
        Requests per second; 0.0 where the point misses the SLO at any rate. It does not rise with
        ``tau_s`` or ``stretch``.
    """
    return joint_capacity_above(stages, point, request, tau_s, stretch, 0.0)
