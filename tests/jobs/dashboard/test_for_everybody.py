"""By keyboard, by screen reader, in both languages and colours, on a narrow screen."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mwalimu.jobs.states import State
from tests.jobs.dashboard import seeding
from tests.jobs.dashboard.browsing import expect
from tests.jobs.dashboard.conftest import Opener
from tests.jobs.service import Running

PLACES = [
    "/jobs",
    *(f"/jobs/first/{part}" for part in ("overview", "curves", "samples", "scores", "logs")),
    *(f"/jobs/first/{part}" for part in ("events", "files", "config")),
    "/jobs/policy",
    "/jobs/going",
    "/models",
    "/models/desk",
    "/compare?jobs=first%2Csecond",
    "/playground",
    "/datasets",
    "/submit",
    "/admin",
]
CONTROLS = {"button", "link", "textbox", "searchbox", "combobox", "checkbox", "spinbutton"}
NAMED = CONTROLS | {
    "table",
    "navigation",
    "region",
    "progressbar",
    "dialog",
    "img",
    "log",
    "search",
}
CONTRAST = (Path(__file__).parent / "looking.js").read_text().partition("\n")[2].rstrip("\n;")
FOCUS = """() => {
  const on = document.activeElement;
  return [on !== document.body, getComputedStyle(on).outlineStyle];
}"""


def outline(page: Any) -> list[dict[str, Any]]:
    """The page as a screen reader has it: Chromium's own accessibility tree."""
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    return [node for node in nodes if not node["ignored"]]


def of_role(nodes: list[dict[str, Any]], *roles: str) -> list[str]:
    found = [node for node in nodes if node["role"]["value"] in roles]
    return [node.get("name", {}).get("value", "") for node in found]


def test_every_page_can_be_heard(desk: Running, opened: Opener) -> None:
    tab = opened(desk)
    for place in PLACES:
        page = tab.open(place)
        for summary in page.locator("main summary").all():
            summary.click()
        nodes = outline(page)
        for role in NAMED:
            assert all(of_role(nodes, role)), (place, role, of_role(nodes, role))
        assert [len(of_role(nodes, role)) for role in ("banner", "main")] == [1, 1], place
        levels = page.locator("main :is(h1, h2, h3)").evaluate_all(
            "all => all.map(h => +h.tagName[1])"
        )
        assert levels.count(1) == 1 and levels[0] == 1, place
        assert all(b - a <= 1 for a, b in pairwise(levels)), (place, levels)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(scheme: Any, desk: Running, opened: Opener) -> None:
    tab = opened(desk, color_scheme=scheme, reduced_motion="reduce")
    for place in PLACES:
        assert tab.open(place).evaluate(CONTRAST) == [], place


def test_the_colours_follow_the_system_and_a_switch(desk: Running, opened: Opener) -> None:
    page = opened(desk, color_scheme="dark").open()
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(20, 24, 27)"
    page.get_by_label("Colours").select_option("light")
    assert page.evaluate(ground) == "rgb(251, 251, 249)"
    page.reload()
    expect(page.get_by_label("Colours")).to_have_value("light")
    assert page.evaluate(ground) == "rgb(251, 251, 249)"


def test_nothing_is_wider_than_a_narrow_screen(desk: Running, opened: Opener) -> None:
    tab = opened(desk, viewport={"width": 320, "height": 640})
    for place in PLACES:
        page = tab.open(place)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, place
    page.get_by_label("Language").select_option("sw")
    for place in PLACES:
        page = tab.open(place)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, place


def test_it_speaks_swahili_by_the_browser_or_by_choice(desk: Running, opened: Opener) -> None:
    page = opened(desk, locale="sw-KE").open()
    expect(page.get_by_role("heading", level=1)).to_have_text("Kazi")
    expect(page.locator("html")).to_have_attribute("lang", "sw")
    page.get_by_role("link", name="Support desk, rank 16").click()
    expect(page.get_by_text("Majibu ya mwalimu").first).to_be_visible()
    other = opened(desk).open()
    expect(other.locator("html")).to_have_attribute("lang", "en")
    other.get_by_label("Language").select_option("sw")
    expect(other.get_by_role("heading", level=1)).to_have_text("Kazi")
    other.reload()
    expect(other.get_by_role("heading", level=1)).to_have_text("Kazi")


def test_a_job_is_found_and_cancelled_by_keyboard_alone(here: Running, opened: Opener) -> None:
    seeding.queued(here.service, "job", "A job")
    page = opened(here).open()
    expect(page.get_by_role("link", name="A job")).to_be_visible()
    focused = page.locator(":focus")
    page.locator("body").focus()
    page.evaluate("document.activeElement.blur()")
    tab_to(page, "Skip to the page")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    tab_to(page, "A job")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="A job")).to_be_focused()
    tab_to(page, "Cancel the job")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Cancel A job?")).to_be_visible()
    page.keyboard.press("Escape")
    expect(focused).to_have_text("Cancel the job")
    page.keyboard.press("Enter")
    tab_to(page, "Cancel the job")
    page.keyboard.press("Enter")
    expect(page.locator(".badge")).to_have_text("⊘Cancelled")
    expect(page.get_by_role("status")).to_have_text("A job is being cancelled")
    assert here.service.store.get("job").state is State.CANCELED


def tab_to(page: Any, text: str) -> None:
    """Presses Tab until the focus is on it; wherever it is on the way, it can be seen."""
    for _ in range(60):
        if page.evaluate("document.activeElement.textContent") == text:
            return
        page.keyboard.press("Tab")
        inside, drawn = page.evaluate(FOCUS)
        assert not inside or drawn != "none", page.evaluate("document.activeElement.outerHTML")
    raise AssertionError(f"{text!r} cannot be reached")


def test_whoever_stands_on_a_button_stays_on_it(here: Running, opened: Opener) -> None:
    lease = seeding.started(here.service, "job", "A job")
    page = opened(here).open("/jobs/job")
    page.get_by_role("button", name="Pause").focus()
    here.service.store.advance(lease, State.FINALIZING)
    expect(page.locator(".badge")).to_have_text("◕Finalising")
    expect(page.get_by_role("button", name="Pause")).to_be_focused()
    here.service.store.advance(lease, State.COMPLETED)
    expect(page.locator(".badge")).to_have_text("✓Completed")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
