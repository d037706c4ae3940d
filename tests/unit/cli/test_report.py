"""``coral report``: one page that needs nothing else, and pictures."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.unit.cli.support import INVENTORY, ROOT, SERVICES
from tests.unit.report import support

from coral_cli.main import main
from coral_cli.report.content import Provenance, ReportContent, key_numbers, peer_verdict, verdict
from coral_cli.report.numbers import in_prose, number, percent, usd
from coral_cli.report.page import render_page, render_pictures
from coral_cli.report.palette import DARK, LIGHT, model_looks, relative_luminance
from coral_solver.domain.hardware import PoolNode
from coral_solver.report.figures import report_figures
from coral_solver.report.frontier import template_frontiers

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.support import Coral

    from coral_solver.domain.plan import PlanningProblem

HOSTILE = '<script>alert("x")</script> $\\frac{1}{0}$ & -->'


class _NoTemplates:
    scope = "none"

    def templates(self, *_of: object) -> list[Any]:
        return []


def content(problem: PlanningProblem, document: dict[str, Any], **fields: Any) -> ReportContent:
    """Return what a report is made from, with no template."""
    given: dict[str, Any] = {
        "problem": problem,
        "document": document,
        "figures": report_figures(problem, document),
        "frontiers": template_frontiers(problem, _NoTemplates(), document),
        "names": {model.id: model.id for model in problem.models},
        "provenance": Provenance(
            made_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
            versions={"coral-serving": "1"},
            command="coral report",
            options={},
            files=[],
        ),
        "refused": [],
        "notes": [],
        "left_out": [],
    }
    return ReportContent(**given | fields)


def simple(model_id: str = "a", *, demand: float = 2.0, unmet: float = 0.0) -> ReportContent:
    """Return the content for one model on one L4."""
    return content(
        support.problem(support.served(model_id, demand)),
        support.document(
            [support.instance(model_id)], [support.outcome(model_id, demand, unmet=unmet)]
        ),
    )


class _Page(HTMLParser):
    """Collects what a browser would load or run, ids, references to ids, and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.handlers: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)
        for name, value in attrs:
            if name in ("href", "src", "xlink:href", "data", "srcset", "action"):
                self.links.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data


def parsed(page: str) -> _Page:
    """Parse a page; every element must be closed in its order."""
    found = _Page()
    found.feed(page)
    assert not found.open
    return found


@pytest.fixture(scope="module")
def example_page(template_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of the example, as the command wrote it."""
    written = tmp_path_factory.mktemp("report") / "r.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["coral", *_arguments(template_cache), "-o", str(written)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code
    return written.read_text(encoding="utf-8")


def _arguments(template_cache: Path) -> list[str]:
    return [
        "report", "-f", str(SERVICES), "--inventory", str(INVENTORY),
        "--cache-dir", str(template_cache),
    ]  # fmt: skip


@pytest.fixture
def arguments(template_cache: Path) -> list[str]:
    """What every report of these tests is given."""
    return _arguments(template_cache)


def test_the_page_needs_nothing_else(example_page: str) -> None:
    page, found = example_page, parsed(example_page)
    assert not {"script", "link", "img", "iframe", "object", "image"} & set(found.tags)
    assert not found.handlers
    # Every link leads to a place on the page.
    assert {link.removeprefix("#") for link in found.links} <= set(found.ids)
    assert "url(http" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_ids_are_unique_and_every_picture_has_words(example_page: str) -> None:
    page, found = example_page, parsed(example_page)
    assert len(found.ids) == len(set(found.ids))
    pictures = re.findall(r'<svg [^>]*role="img" aria-labelledby="(\S+) (\S+)"', page)
    # Five plots in two widths, and a frontier for each of three models.
    assert len(pictures) == found.tags.count("svg") == 13
    assert {name for pair in pictures for name in pair} <= set(found.ids)


def test_every_section_is_there_with_its_numbers(example_page: str) -> None:
    text = parsed(example_page).text
    for said in (
        "What runs where",
        "Allocation by pool",
        "Cost by model",
        "Comparison with the peers",
        "Template efficiency",
        "How far the predictions can be trusted",
        "Reasons and messages",
        "Make it again",
        "us-east-2/H100x8-nvlink/on-demand",
        "homogeneous greedy",
        "USD per million",
        "skypilot-catalog v8 aws/vms.csv @00148f2",
        hashlib.sha256(SERVICES.read_bytes()).hexdigest(),
    ):
        assert said in text


def test_a_report_of_a_saved_plan_says_what_the_plan_says(
    coral: Coral, arguments: list[str], tmp_path: Path
) -> None:
    written = coral("plan", *arguments[1:], "-o", "json").stdout
    plan = json.loads(written)
    plan["models"][0]["message"] = "a sentence of the saved plan"
    saved = tmp_path / "plan.json"
    saved.write_text(json.dumps(plan), encoding="utf-8")
    done = coral(*arguments, "--plan", saved, "-o", tmp_path / "r.html")
    assert "stage 2" not in done.stderr
    text = parsed((tmp_path / "r.html").read_text(encoding="utf-8")).text
    assert "a sentence of the saved plan" in text
    assert f"{plan['cost_usd_per_hour']:.2f}" in text


def test_a_plan_for_other_files_is_refused_with_every_reason(
    coral: Coral, arguments: list[str], tmp_path: Path
) -> None:
    plan = json.loads(coral("plan", *arguments[1:], "-o", "json", "--no-baselines").stdout)
    plan["version"] = 7
    plan["models"][0]["model"] = "default/assistants/other"
    plan["instances"][0]["slices"][0]["pool"] = "mars/L4x4-pcie/spot"
    other = tmp_path / "other.json"
    other.write_text(json.dumps(plan), encoding="utf-8")
    done = coral(*arguments, "--plan", other, "-o", tmp_path / "r.html")
    assert done.exit_code == 2
    for said in ("version is 7", "no model 'default/assistants/other'", "no pool 'mars/L4x4"):
        assert said in done.stderr
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize("written", ["", "[]", "{", '{"version": 1}', '{"cost_usd_per_hour": NaN}'])
def test_a_file_that_is_no_plan_is_a_message(
    coral: Coral, arguments: list[str], tmp_path: Path, written: str
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(written, encoding="utf-8")
    done = coral(*arguments, "--plan", bad, "-o", tmp_path / "r.html")
    assert done.exit_code == 2
    assert "bad.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_report_is_a_page(coral: Coral, arguments: list[str], tmp_path: Path) -> None:
    done = coral(*arguments, "-o", tmp_path / "report.pdf")
    assert done.exit_code == 2
    assert "--png" in done.stderr


def test_a_folder_that_cannot_be_written_is_a_message(
    coral: Coral, arguments: list[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    done = coral(*arguments, "-o", tmp_path / "file" / "r.html")
    assert done.exit_code == 2
    assert "cannot be written" in done.stderr


def test_pictures_are_png_files_named_by_plot(
    coral: Coral, arguments: list[str], tmp_path: Path
) -> None:
    done = coral(*arguments, "--png", tmp_path / "pictures")
    assert done.exit_code == 0
    assert not list(tmp_path.glob("*.html"))
    names = sorted(path.stem for path in (tmp_path / "pictures").iterdir())
    assert names == [
        "capacity", "cost", "frontier-1", "frontier-2", "frontier-3", "margins", "peers", "pools",
    ]  # fmt: skip
    for path in (tmp_path / "pictures").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG\r\n")


def test_unmet_demand_sets_the_exit_code_and_is_said_first(
    coral: Coral, arguments: list[str], tmp_path: Path
) -> None:
    service = yaml.safe_load(SERVICES.read_text(encoding="utf-8"))
    service["spec"]["models"] = service["spec"]["models"][:1]
    service["spec"]["models"][0]["demand"]["requestsPerSecond"] = 10_000
    large = tmp_path / "large.yaml"
    large.write_text(yaml.safe_dump(service), encoding="utf-8")
    done = coral("report", "-f", large, *arguments[3:], "-o", tmp_path / "r.html")
    assert done.exit_code == 3
    assert "The model is short: phi-4" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_names_and_messages_are_text_and_never_markup() -> None:
    document = support.document(
        [support.instance(HOSTILE, prediction_source=HOSTILE, template=HOSTILE)],
        [support.outcome(HOSTILE, 2.0, message=HOSTILE)],
        bound_scope=HOSTILE,
        baselines={HOSTILE: support.peer(1.0)},
    )
    page = render_page(
        content(
            support.problem(support.served(HOSTILE, 2.0)),
            document,
            notes=[HOSTILE],
            left_out=[HOSTILE],
            refused=[{"name": HOSTILE, "reason": HOSTILE, "message": HOSTILE}],
        )
    )
    found = parsed(page)
    assert "script" not in found.tags
    assert "<script" not in page
    # Ten texts at least outside the plots, word for word.
    assert found.text.count(HOSTILE) >= 10


def test_the_same_content_gives_the_same_page_and_pictures() -> None:
    assert render_page(simple()) == render_page(simple())
    assert render_pictures(simple()) == render_pictures(simple())


def test_a_plan_of_nothing_is_still_a_report() -> None:
    empty = content(
        support.problem(support.served("a", 0.0)),
        support.document([], [support.outcome("a", 0.0)], objective=[]),
    )
    text = parsed(render_page(empty)).text
    assert "Nothing runs" in text
    assert "no demand" in text


def test_dark_and_light_have_the_same_colours_and_all_are_used() -> None:
    page = render_page(simple())
    for name in ("ink", "muted", "line", "surface", "idle"):
        assert f"var(--{name})" in page
    assert "#fe0" not in page  # no stand-in is left
    assert "prefers-color-scheme: dark" in page


def test_a_prediction_without_a_bar_says_so() -> None:
    assert "no bar" in parsed(render_page(simple())).text


def test_a_cheaper_peer_is_not_hidden() -> None:
    document = support.document(
        [support.instance("a", usd_per_hour=2.0)],
        [support.outcome("a", 2.0)],
        baselines={"thrifty": support.peer(1.0, a=0.0)},
    )
    figures = report_figures(support.problem(support.served("a", 2.0)), document)
    assert "thrifty, pays 0.50 times the rent" in peer_verdict(figures.peers)


def test_a_peer_that_serves_another_amount_gets_no_ratio() -> None:
    document = support.document(
        [support.instance("a")],
        [support.outcome("a", 4.0, unmet=2.0)],
        baselines={"idle": support.peer(0.0, a=4.0)},
    )
    given = content(support.problem(support.served("a", 4.0)), document)
    assert "No peer serves the same" in peer_verdict(given.figures.peers)
    assert next(item for item in key_numbers(given) if item.label == "Cheapest peer").value == (
        "none"
    )


def test_of_many_pools_the_most_used_are_drawn_and_all_are_in_the_table() -> None:
    given = simple()
    pool = given.problem.pools[-1]
    more = tuple(
        replace(pool, key=pool.key._replace(region=f"r{i:02}"), nodes=(PoolNode(f"n{i}", 4),))
        for i in range(40)
    )
    problem = replace(given.problem, pools=(*given.problem.pools, *more))
    page = render_page(content(problem, dict(given.document)))
    # 42 pools, of which 30 are drawn.
    assert "Not drawn: 12 pools" in page
    drawn = page[page.index('<div class="wide">') : page.index('<div class="narrow">')]
    assert support.L4 in drawn
    assert drawn.count("GPUs used") == 30
    assert parsed(page).text.count("r39/L4x4-pcie/on-demand") >= 2


def test_the_verdict_names_who_is_short() -> None:
    assert "The model is short: a." in verdict(simple(unmet=0.5))
    assert verdict(simple()).startswith("The whole demand of 1 model, 2 requests per second")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.00"), (0.004, "0.004"), (0.25, "0.25"), (30.0, "30.0"), (1234.5, "1,234")],
)
def test_numbers_have_about_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_numbers_in_sentences_have_no_zeros_at_their_end() -> None:
    assert (in_prose(30.0), in_prose(100.0), in_prose(0.25)) == ("30", "100", "0.25")


def test_money_is_shown_to_the_cent_or_finer() -> None:
    assert (usd(0), usd(12.345), usd(0.0678), usd(12345.6)) == ("0.00", "12.35", "0.068", "12,346")


def test_almost_all_is_not_shown_as_all() -> None:
    assert percent(0.9999) == ">99\N{NO-BREAK SPACE}%"
    assert percent(0.0001) == "<1\N{NO-BREAK SPACE}%"
    assert percent(1.0) == "100\N{NO-BREAK SPACE}%"


def _contrast(first: str, second: str) -> float:
    light, dark = sorted(map(relative_luminance, (first, second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("roles", [LIGHT, DARK])
def test_text_is_readable_on_both_backgrounds(roles: Any) -> None:
    # WCAG 2.2 AA: 4.5 for text.
    for colour in (roles.ink, roles.muted, roles.good, roles.bad):
        assert _contrast(colour, roles.surface) >= 4.5


def test_sixteen_models_look_different_and_their_labels_can_be_read() -> None:
    looks = model_looks({f"m{i:02}": f"m{i:02}" for i in range(16)}).values()
    assert len({(look.colour, look.hatch) for look in looks}) == 16
    assert all(_contrast(look.colour, look.text_colour) >= 4.5 for look in looks)
    assert all(
        _contrast(look.colour, roles.surface) >= 2.0 for look in looks for roles in (LIGHT, DARK)
    )
    assert all(first.name != second.name for first, second in combinations(looks, 2))


def test_nothing_but_a_report_imports_matplotlib() -> None:
    done = subprocess.run(
        [
            sys.executable, "-c",
            "import coral_cli.main, coral_operator.run, sys;"
            "print([m for m in ('matplotlib', 'jinja2', 'PIL') if m in sys.modules])",
        ],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
