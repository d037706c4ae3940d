"""A compiled simulation of vLLM's scheduler under a fixed number of clients or one burst.

Used for predictions in closed loop: the first wave of prompts, requests that end together and a
KV cache that is full are not seen by a steady state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from coral_solver.performance.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Lengths = NDArray[np.int64]


@compiled
def _link(request: int, bucket: int, first: Lengths, after: Lengths, before: Lengths) -> None:
    """Put a request at the front of a bucket's list."""
    after[request] = first[bucket]
    before[request] = -1
    if first[bucket] >= 0:
        before[first[bucket]] = request
    first[bucket] = request


@compiled
def _unlink(request: int, bucket: int, first: Lengths, after: Lengths, before: Lengths) -> None:
    """Take a request out of a bucket's list."""
    if before[request] >= 0:
        after[before[request]] = after[request]
    else:
        first[bucket] = after[request]
    if after[request] >= 0:
        before[after[request]] = before[request]


@compiled
def simulate_clients(
    by_tokens_s: Array,
    by_sampled_s: Array,
    decode_s: Array,
    prompt_s: Array,
    window: float,
    window_share: float,
    window_factor: float,
    clients: int,
    inputs: Lengths,
    outputs: Lengths,
    max_num_seqs: int,
    budget_tokens: int,
    kv_limit_tokens: float,
) -> tuple[float, float, float]:
    """Serve requests from clients that each send the next one when the last one is answered.

    Parameters
    ----------
    by_tokens_s
        Shape (S, N): step time of each stage by the number of tokens, without attention.
    by_sampled_s
        Shape (S, K): what sampling that many sequences adds.
    decode_s, prompt_s
        Shape (S,): time per pair of a decoding sequence, or a prompt token, and a token that it
        attends to.
    window, window_share, window_factor
        Sliding windows: their length, the share of layers with one, their relative cost.
    clients
        Requests that are open at once.
    inputs, outputs
        Shape (R,): lengths of the requests in tokens, in order of arrival.
    max_num_seqs, budget_tokens, kv_limit_tokens
        Engine settings, and tokens that the KV cache holds.

    Returns
    -------
    tuple[float, float, float]
        Mean time to the first token (s), mean time per output token (s), and time until the last
        answer (s). Negative: the longest request does not fit into the KV cache.
    """
    stages = by_tokens_s.shape[0]
    count = inputs.shape[0]
    buckets = outputs.max() + 2
    # Requests of a group (a micro-batch) by the group's step at which they end: linked lists.
    first = np.full((stages, buckets), -1, np.int64)
    after = np.full(count, -1, np.int64)
    before = np.full(count, -1, np.int64)
    ends_at = np.zeros(count, np.int64)
    group_of = np.full(count, -1, np.int64)
    prompt_left = inputs.copy()
    context = np.zeros(count, np.int64)
    produced = np.zeros(count, np.int64)
    arrival_s = np.zeros(count)
    first_s = np.full(count, -1.0)
    # Preempted requests go to the front of the queue: it starts in the middle of its array.
    queue = np.zeros(3 * count + 1, np.int64)
    head = tail = 2 * count
    admitted = np.zeros(3 * count + 1, np.int64)
    num_admitted = 0
    partial = -1
    step = np.zeros(stages, np.int64)
    decoding = np.zeros(stages, np.int64)
    context_sum = np.zeros(stages, np.int64)
    ending = np.zeros((stages, count), np.int64)
    num_ending = np.zeros(stages, np.int64)
    flight = np.zeros(stages, np.int64)
    returns_s = np.zeros(stages)
    busy = np.zeros(stages, np.bool_)
    free_s = np.zeros(stages)
    done = np.zeros(count, np.int64)
    now_s = ttft_sum = tpot_sum = 0.0
    kv_used = in_flight = tpot_count = preemptions = running = finished = 0
    sent = min(clients, count)
    for i in range(sent):
        queue[tail] = i
        tail += 1
    blocked = False
    while finished < count:
        group = 0
        if in_flight == stages or blocked or (head == tail and partial < 0):
            # The oldest batch returns: pipelines keep the order.
            group = flight[0]
            in_flight -= 1
            for k in range(in_flight):
                flight[k] = flight[k + 1]
            now_s = returns_s[group]
            busy[group] = False
            num_done = 0
            if decoding[group] > 0:
                step[group] += 1
                bucket = step[group] % buckets
                request = first[group, bucket]
                first[group, bucket] = -1
                while request >= 0:
                    done[num_done] = request
                    num_done += 1
                    decoding[group] -= 1
                    context_sum[group] -= inputs[request] + outputs[request] - 1
                    context[request] = inputs[request] + outputs[request] - 1
                    request = after[request]
            for k in range(num_ending[group]):
                request = ending[group, k]
                if first_s[request] < 0.0:
                    first_s[request] = now_s
                    ttft_sum += now_s - arrival_s[request]
                produced[request] += 1
                if produced[request] >= outputs[request]:
                    done[num_done] = request
                    num_done += 1
                    continue
                # It decodes with this group from now on.
                ends_at[request] = step[group] + outputs[request] - produced[request]
                _link(request, ends_at[request] % buckets, first[group], after, before)
                group_of[request] = group
                decoding[group] += 1
                context_sum[group] += context[request]
            num_ending[group] = 0
            for k in range(num_done):
                request = done[k]
                group_of[request] = -1
                kv_used -= context[request]
                running -= 1
                finished += 1
                if outputs[request] > 1:
                    tpot_sum += (now_s - first_s[request]) / (outputs[request] - 1)
                    tpot_count += 1
                if sent < count:
                    queue[tail] = sent
                    tail += 1
                    arrival_s[sent] = now_s
                    sent += 1
        else:
            while busy[group]:
                group += 1
        # One more token of every decoding sequence must fit: the youngest of them give way.
        while (
            decoding[group] > 1
            and kv_used + decoding[group] > kv_limit_tokens
            and num_admitted > 0
            and preemptions < 2 * count
        ):
            num_admitted -= 1
            victim = admitted[num_admitted]
            if group_of[victim] != group:
                continue
            _unlink(victim, ends_at[victim] % buckets, first[group], after, before)
            produced[victim] = outputs[victim] - (ends_at[victim] - step[group])
            prompt_left[victim] = inputs[victim] + produced[victim]
            decoding[group] -= 1
            context_sum[group] -= prompt_left[victim] - 1
            kv_used -= prompt_left[victim] - 1
            running -= 1
            preemptions += 1
            group_of[victim] = -1
            context[victim] = 0
            head -= 1
            queue[head] = victim
        seqs = decoding[group]
        budget = budget_tokens - seqs
        tokens = sampled = seqs
        pairs = 0.0
        while budget > 0:
            request = partial
            if request < 0:
                if head == tail or running >= max_num_seqs:
                    break
                request = queue[head]
            chunk = min(prompt_left[request], budget)
            if kv_used + seqs + chunk > kv_limit_tokens:
                break
            if partial < 0:
                head += 1
                running += 1
                admitted[num_admitted] = request
                num_admitted += 1
            mean = context[request] + 0.5 * chunk
            pairs += chunk * (
                (1.0 - window_share) * mean + window_share * window_factor * min(mean, window)
            )
            prompt_left[request] -= chunk
            context[request] += chunk
            kv_used += chunk
            budget -= chunk
            tokens += chunk
            partial = request
            if prompt_left[request] == 0:
                ending[group, num_ending[group]] = request
                num_ending[group] += 1
                sampled += 1
                partial = -1
        blocked = tokens == 0
        if blocked:
            if in_flight == 0 and finished < count:
                return -1.0, -1.0, -1.0
            # A group that fell empty leaves; otherwise the oldest batch has to return first.
            blocked = in_flight > 0
            continue
        kv_used += seqs
        context_sum[group] += seqs
        attended = 0.0
        if seqs > 0:
            mean = context_sum[group] / seqs
            attended = seqs * (
                (1.0 - window_share) * mean + window_share * window_factor * min(mean, window)
            )
        start_s = now_s
        for s in range(stages):
            start_s = max(start_s, free_s[s]) + (
                by_tokens_s[s, tokens]
                + by_sampled_s[s, sampled]
                + decode_s[s] * attended
                + prompt_s[s] * pairs
            )
            free_s[s] = start_s
        returns_s[group] = start_s
        busy[group] = True
        flight[in_flight] = group
        in_flight += 1
    return ttft_sum / count, tpot_sum / max(tpot_count, 1), now_s
