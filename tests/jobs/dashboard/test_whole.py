"""The quickstart in small, by hand in a browser: real workers, a real student, real answers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from mwalimu.jobs.records import Role
from mwalimu.jobs.states import State
from tests.jobs.dashboard.browsing import expect
from tests.jobs.dashboard.conftest import Opener, upload
from tests.jobs.lives import begin
from tests.jobs.service import Running
from tests.jobs.waiting import wait_for
from tests.tiny import make_tiny_model

SLOW = 60_000  # milliseconds


def work(here: Running) -> Any:
    """The page's own request is on its way when a button was clicked."""
    lease = wait_for(lambda: here.service.store.claim("cpu-0", "cpu"))
    assert lease is not None
    return begin(here.service.workspace, lease)


def require_completed(here: Running) -> None:
    newest = here.service.store.jobs()[0]
    log = here.service.workspace.log(newest.name).read_text()
    assert newest.state is State.COMPLETED, (newest.error, log[-2000:])


def fill_in(page: Any, title: str, **settings: object) -> None:
    """The form of the quickstart with other settings, up to the job's page."""
    page.get_by_role("link", name="New job").first.click()
    page.get_by_role("button", name="Fill in the quickstart").click()
    expect(page.get_by_label("student.model")).to_have_value("model:quickstart-student")
    page.get_by_label("Title").fill(title)
    page.get_by_label("teacher.model").fill("fake")
    for section in page.locator("details.section > summary").all():
        section.click()
    for path, value in settings.items():
        page.get_by_label(path.replace("__", "."), exact=True).fill(str(value))
    page.get_by_role("button", name="Estimate").click()
    page.get_by_role("button", name="Submit the job").click(timeout=SLOW)
    expect(page.get_by_role("heading", level=1)).to_have_text(title)


@pytest.mark.slow
def test_the_quickstart_from_submission_to_playground(here: Running, opened: Opener) -> None:
    student = make_tiny_model(here.service.workspace.root / "models" / "tiny")
    place = str(Path(student).relative_to(here.service.workspace.root))
    here.service.models.add("quickstart-student", job="by-hand", folder=place)
    for split, rows in {"train": 24, "validation": 12, "test": 12}.items():
        upload(here, f"quickstart-{split}", split, rows)
    tab = opened(here, Role.SUBMITTER)
    page = tab.open()
    few = {"evaluate__max_tokens": 4, "evaluate__bootstrap": 100, "finetune__save_every": 1}
    few |= {"generate__min_ok": 0.5, "student__max_length": 512, "evaluate__labelled_epochs": 1}
    few |= {"evaluate__arms": '["before", "distilled"]'}
    fill_in(page, "One", finetune__epochs=1, **few)
    worker = work(here)
    badge = page.locator(".badge")
    expect(badge).to_have_text("●Running", timeout=SLOW)
    worker.join(90)
    require_completed(here)
    expect(badge).to_have_text("✓Completed")
    for stage in ("generate", "finetune", "evaluate"):
        expect(page.locator(f"li[data-stage={stage}]")).to_contain_text("done")
    page.get_by_role("link", name="Curves").click()
    expect(page.get_by_role("img").first).to_have_accessible_name(re.compile("Loss: from .* to "))
    page.get_by_role("link", name="Samples").click()
    expect(page.get_by_role("article").first).to_contain_text("student-distilled")

    fill_in(page, "Two", finetune__epochs=40, **few)
    worker = work(here)
    expect(page.locator("li[data-stage=finetune]")).to_contain_text("running", timeout=SLOW)
    page.get_by_role("button", name="Cancel the job").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    expect(badge).to_have_text("⊘Cancelled", timeout=SLOW)
    worker.join(60)
    page.get_by_role("button", name="Resume").click()
    worker = work(here)
    worker.join(90)
    require_completed(here)
    expect(badge).to_have_text("✓Completed")

    one, two = sorted(here.service.store.jobs(), key=lambda job: job.created)
    assert (one.state, two.state) == (State.COMPLETED, State.COMPLETED)
    page = tab.open(f"/compare?jobs={one.name}%2C{two.name}")
    expect(page.get_by_role("table", name="Settings that differ")).to_contain_text(
        "finetune.epochs140"
    )
    expect(page.get_by_role("table", name="Is the difference real?")).to_be_visible()
    page = tab.open("/playground")
    page.get_by_label("Job").select_option(label="One")
    page.get_by_label("Question").fill("Where is order 9?")
    page.get_by_role("button", name="Ask both").click()
    expect(page.get_by_role("article").filter(has_text="Student")).to_contain_text(
        " s", timeout=SLOW
    )
    expect(page.get_by_role("article").filter(has_text="Teacher")).to_be_visible()
