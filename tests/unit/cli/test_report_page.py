"""The page and the pictures of a report: words, numbers, colours."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from tests.unit.cli.report_support import content, parsed, simple
from tests.unit.report import support

from coral_cli.report.content import key_numbers, peer_verdict, verdict
from coral_cli.report.numbers import in_prose, number, percent, usd
from coral_cli.report.page import render_page, render_pictures
from coral_cli.report.palette import DARK, LIGHT, model_looks, relative_luminance
from coral_solver.domain.hardware import PoolNode
from coral_solver.report.figures import report_figures

HOSTILE = '<script>alert("x")</script> $\\frac{1}{0}$ & -->'


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
