"""Reports made by hand, and a page as a browser would read it."""

from __future__ import annotations

from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

from tests.unit.report import support

from coral_cli.report.content import Provenance, ReportContent
from coral_solver.report.figures import report_figures
from coral_solver.report.frontier import template_frontiers

if TYPE_CHECKING:
    from coral_solver.domain.plan import PlanningProblem


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
