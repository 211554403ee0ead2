"""A hundred hostile texts in every field that somebody may write: none runs, all are shown."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from mwalimu.jobs.records import Role
from tests.figures import record
from tests.jobs.dashboard import seeding
from tests.jobs.dashboard.browsing import WATCH, expect
from tests.jobs.dashboard.conftest import Opener
from tests.jobs.dashboard.payloads import PAYLOADS
from tests.jobs.dashboard.seeding import Words
from tests.jobs.service import Running, running

LONG = "MWALIMU_LONG" in os.environ
TOGETHER = 1 if LONG else 10  # payloads in one text; alone, none can swallow another
GROUPS = [PAYLOADS[at : at + TOGETHER] for at in range(0, len(PAYLOADS), TOGETHER)]
PARTS = ("overview", "curves", "samples", "scores", "logs", "events", "files", "config")
WHERE_MARKUP_IS_READ = """async (payloads) => {
  const ran = [];
  for (const payload of payloads) {
    window.__ran.length = 0;
    document.body.innerHTML = payload;
    await new Promise((done) => setTimeout(done, 20));
    ran.push(window.__ran.length);
  }
  return ran;
}"""


def text_of(group: list[str]) -> str:
    return "\n".join(group)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Jobs for each group of payloads, whose every text they are."""
    with running(tmp_path_factory.mktemp("service")) as found:
        for number, group in enumerate(GROUPS):
            seed(found, number, Words(text_of(group)))
        yield found


def seed(here: Running, number: int, words: Words) -> None:
    service, text = here.service, words("")
    named = {"model": text.partition("\n")[0]}
    config = seeding.CONFIG | {"teacher": named, "student": named}
    seeding.failed(service, f"bad-{number}", text, words=words, config=config)
    name = seeding.completed(service, f"job-{number}", text, words=words, config=config)
    service.models.add("model", job=name, folder="x", properties={text: text, "task": text})
    service.audit.add(who="sam", what=text, on=text, status=200, address=text)
    lease = seeding.started(service, f"going-{number}", text, words=words)
    service.store.report(lease, "progress", seeding.progress(text, 1, 2, text))
    service.store.report(lease, text, {text: text})


def places(number: int) -> list[str]:
    jobs = [f"/jobs/job-{number}/{part}" for part in PARTS]
    rest = [f"/jobs/bad-{number}", f"/jobs/going-{number}", f"/jobs/going-{number}/events"]
    return [*jobs, *rest, f"/models/model?version={number + 1}"]


def test_there_are_a_hundred_and_most_run_where_markup_is_read(chrome: Any) -> None:
    assert len(set(PAYLOADS)) == 100
    context = chrome.new_context()
    page = context.new_page()
    page.add_init_script(WATCH)
    page.goto("data:text/html,<body>")
    ran = page.evaluate(WHERE_MARKUP_IS_READ, PAYLOADS)
    context.close()
    assert sum(map(bool, ran)) >= 45  # by innerHTML alone; others want document.write or a click


def test_none_runs_on_any_page_of_a_job(hostile: Running, opened: Opener) -> None:
    tab = opened(hostile)
    for number, group in enumerate(GROUPS):
        for place in places(number):
            page = tab.open(place)
            assert page.locator("main img, main script, main iframe, main object").count() == 0
        expect(page.locator("main")).to_contain_text(group[0].split("\n")[0][:40])
        tab.require_clean()
    record("R23", "payloads in every text of a job", tried=len(PAYLOADS))


@pytest.mark.parametrize(
    "place", ["/jobs?limit=200", "/models", "/playground", "/compare?jobs=job-0%2Cjob-1", "/admin"]
)
def test_none_runs_on_the_pages_of_all(place: str, hostile: Running, opened: Opener) -> None:
    page = opened(hostile).open(place)
    if place.startswith("/jobs"):
        expect(page.locator("tbody tr")).to_have_count(min(3 * len(GROUPS), 200))
    page.wait_for_timeout(300)
    assert page.locator("main img, main script, main iframe, main object").count() == 0


def test_none_runs_as_it_happens(here: Running, opened: Opener) -> None:
    lease = seeding.started(here.service, "going", "Going")
    listed, shown = opened(here), opened(here)
    row = listed.open().get_by_role("row", name="Going")
    expect(row).to_contain_text("Running")
    shown.open("/jobs/going")
    for payload in PAYLOADS:
        here.service.store.report(lease, "progress", seeding.progress("finetune", 1, 2, payload))
    expect(row).to_contain_text(PAYLOADS[-1])
    expect(shown.page.get_by_role("listitem").filter(has_text="Training")).to_contain_text(
        PAYLOADS[-1]
    )


def test_none_runs_from_the_address(here: Running, opened: Opener) -> None:
    tab = opened(here)
    tab.open()
    for number, payload in enumerate(PAYLOADS):
        hostile = addresses(payload)
        for place in hostile if LONG else [hostile[number % len(hostile)]]:
            tab.page.evaluate("place => { location.hash = place }", place)
            tab.page.wait_for_timeout(5)
    tab.page.wait_for_timeout(300)
    assert (tab.ran, tab.violations, tab.strayed) == ([], [], [])
    assert all("status of 4" in line for line in tab.console)
    tab.console.clear()
    record("R23", "payloads in the address", tried=len(PAYLOADS))


@pytest.fixture(scope="module")
def misnamed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Everything that has a name, by names that the service itself would never take."""
    with running(tmp_path_factory.mktemp("service")) as found:
        service = found.service
        for number, payload in enumerate(PAYLOADS):
            name = seeding.completed(service, f"job-{number}", "", owner=payload)
            service.models.add(f"model-{number}", job=name, folder="x")
            service.datasets.add(
                f"data-{number}",
                sha256=str(number),
                rows=1,
                size=1,
                task="generic",
                file=f"datasets/{number}.jsonl",
                owner=payload,
                place=lambda: None,
            )
            service.tokens.make(f"token-{number}", Role.VIEWER)
            rename(found, number, payload)
        yield found


def rename(here: Running, number: int, payload: str) -> None:
    """Past every check, as a damaged file would have it."""
    with here.service.store.database.change() as db:
        db.execute("PRAGMA defer_foreign_keys = ON")
        for table, column, stem in (
            *(("jobs", "name", "job"), ("events", "job", "job"), ("models", "job", "job")),
            *(("models", "name", "model"), ("datasets", "name", "data")),
            ("tokens", "name", "token"),
        ):
            db.execute(
                f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (payload, f"{stem}-{number}")
            )


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("/jobs?limit=200", "table"),
        ("/models", "main"),
        ("/datasets", "table"),
        ("/admin", "main"),
        ("/playground", "main"),
        ("/compare", "main"),
        ("/submit", "main"),
    ],
)
def test_none_runs_from_a_name(place: str, shown: str, misnamed: Running, opened: Opener) -> None:
    tab = opened(misnamed)
    page = tab.open(place)
    if place in ("/jobs?limit=200", "/models", "/datasets", "/admin"):
        expect(page.locator(shown).first).to_contain_text(PAYLOADS[-1])
    page.wait_for_timeout(300)
    assert page.locator("main img, main script, main iframe, main object").count() == 0
    assert all("status of 4" in line for line in tab.console), "no such name is asked for in vain"
    tab.console.clear()


def addresses(payload: str) -> list[str]:
    whole = quote(payload, safe="")
    return [
        f"/jobs/{whole}",
        f"/compare?jobs={whole},b",
        f"/{payload}",
        f"/models/x?version={whole}",
    ]


def test_none_runs_from_what_is_typed_and_answered(here: Running, opened: Opener) -> None:
    seeding.completed(here.service, "job", "A job")
    tab = opened(here, Role.SUBMITTER)
    answers = map(text_of, GROUPS)

    def answer(route: Any) -> None:
        said = {"text": next(answers), "seconds": 0.1}
        route.fulfill(json={"student": said, "teacher": said})

    tab.page.route("**/ask", answer)
    page = tab.open("/playground")
    for group in GROUPS:
        page.get_by_label("Question").fill(text_of(group))
        page.get_by_role("button", name="Ask both").click()
        expect(page.get_by_role("article").first).to_contain_text(group[0].replace("\t", " "))
    page.get_by_role("link", name="New job").click()
    page.get_by_label("Title").fill(text_of(PAYLOADS))
    page.get_by_role("button", name="As text").click()
    page.get_by_role("button", name="As text").click()
    page.locator("summary", has_text="How the job is run").click()
    page.get_by_label("Tags").fill("a=" + PAYLOADS[0])
    assert page.locator("main img").count() == 0
