"""Predict one deployment under load, and find the concurrency that a latency target allows."""

from coral_solver import predict

TPOT_TARGET_MS = 40.0


def main() -> None:
    """Predict and print."""
    for concurrency in (1, 4, 16, 64, 256):
        found = predict(
            "qwen3-32b",
            "H100",
            tensor_parallel=2,
            input_tokens=1024,
            output_tokens=256,
            concurrency=concurrency,
        )
        if found.status != "ok":
            print(f"no prediction: {found.message}")
            continue
        verdict = "within" if found.tpot_ms <= TPOT_TARGET_MS else "over"
        print(
            f"{concurrency:>4} clients: TTFT {found.ttft_ms:7.1f} ms, TPOT {found.tpot_ms:5.1f} ms"
            f" ({verdict} {TPOT_TARGET_MS:.0f} ms), {found.output_tokens_per_s:7.0f} tokens/s"
        )


if __name__ == "__main__":
    main()
