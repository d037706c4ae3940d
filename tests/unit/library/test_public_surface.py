"""``from coral_solver import ...``: small, typed, lazy, documented, and its examples run."""

from __future__ import annotations

import ast
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import coral_solver

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples" / "library").glob("*.py"))
PAGE = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
SAID = {
    "compare.py": r"interactive: \d+\.\d\d req/s unmet if fair, \d+\.\d\d by priority",
    "plan.py": r"OPTIMAL: \d+\.\d\d USD per hour",
    "predict.py": r"  64 clients: TTFT +\d+\.\d ms",
    "what_if.py": r"demand of phi-4: x2: \+\d+\.\d\d USD per hour",
}


def _stub_names() -> set[str]:
    """Return the names that the stub imports."""
    stub = Path(coral_solver.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    return {
        f"{node.module}.{alias.name}"
        for node in ast.parse(stub).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_every_public_name_is_there_with_a_docstring() -> None:
    for name in coral_solver.__all__:
        assert (getattr(coral_solver, name).__doc__ or "").strip(), name
    assert set(coral_solver.__all__) <= set(dir(coral_solver))


def test_type_checkers_see_the_same_names_from_the_same_modules() -> None:
    homes = {f"{module}.{name}" for name, module in coral_solver._HOMES.items()}
    assert _stub_names() == homes
    assert len(homes) == len(coral_solver.__all__)


def test_every_public_name_is_documented() -> None:
    words = set(re.findall(r"`(\w+)", PAGE))
    assert not sorted(set(coral_solver.__all__) - words)


def test_a_name_that_is_not_public_is_an_error_as_anywhere() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        coral_solver.nonsense  # noqa: B018


def test_importing_the_package_imports_nothing_else() -> None:
    done = subprocess.run(
        [
            sys.executable, "-c",
            "import sys; before = set(sys.modules); import coral_solver;"
            "new = {name.split('.')[0] for name in set(sys.modules) - before};"
            "print(sorted(new - set(sys.stdlib_module_names)))",
        ],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.strip() == "['coral_solver']"


def test_every_example_is_tested_and_documented() -> None:
    assert {path.name for path in EXAMPLES} == set(SAID)
    for path in EXAMPLES:
        assert f"(../examples/library/{path.name})" in PAGE


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_says_what_it_is_for(
    example: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runpy.run_path(str(example), run_name="__main__")
    assert re.search(SAID[example.name], capsys.readouterr().out)


def test_plan_takes_models_and_pools_in_any_order() -> None:
    arch = coral_solver.model_arch("phi-4")
    models = [
        coral_solver.ServedModel(
            id=name,
            arch=arch,
            precision=arch.native_precision,
            slo=coral_solver.Slo(ttft_s=1.2, tpot_s=0.06),
            workload=coral_solver.Workload(
                input_tokens=coral_solver.LengthDistribution.from_mean(1000),
                output_tokens=coral_solver.LengthDistribution.from_mean(200),
            ),
            demand_req_per_s=2,
        )
        for name in ("b", "a")
    ]
    pools = coral_solver.inventory_pools(
        [
            coral_solver.InventoryRow(
                gpu=gpu, gpus_per_node=1, nodes=2, region="here", node_usd_per_hour=6.0, where="-"
            )
            for gpu in ("H100", "L40S")
        ]
    )
    options = coral_solver.PlanningOptions(with_baselines=False, max_nodes=1)
    forth = coral_solver.plan(models, pools, options=options).plan
    back = coral_solver.plan(models[::-1], pools[::-1], options=options).plan
    assert forth.instances == back.instances
    assert [outcome.model_id for outcome in forth.outcomes] == ["a", "b"]


def test_predict_takes_names_or_what_they_stand_for() -> None:
    by_name = coral_solver.predict("phi-4", "L40S", concurrency=4)
    by_value = coral_solver.predict(
        coral_solver.model_arch("phi-4"), coral_solver.gpu_type("L40S"), concurrency=4
    )
    assert by_name == by_value
    assert by_name.status == "ok"


def test_predict_says_which_names_are_near() -> None:
    with pytest.raises(coral_solver.CatalogError, match="phi-4"):
        coral_solver.predict("phi-44", "L40S")
