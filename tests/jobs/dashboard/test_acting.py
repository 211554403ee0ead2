"""What can be done from the dashboard, by those who may."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mwalimu.jobs.records import Role
from mwalimu.jobs.states import State
from mwalimu.quickstart.job import ROWS, job_config
from tests.jobs.dashboard import seeding
from tests.jobs.dashboard.browsing import expect
from tests.jobs.dashboard.conftest import Opener, upload
from tests.jobs.service import Running


def confirm(page: Any, action: str) -> None:
    page.get_by_role("button", name=action).click()
    page.get_by_role("dialog").get_by_role("button", name=action).click()


def test_submits_what_differs_from_the_defaults_after_an_estimate(
    here: Running, opened: Opener
) -> None:
    upload(here, "tickets", "train", 40)
    upload(here, "tickets-test", "test", 20)
    page = opened(here, Role.SUBMITTER).open("/submit")
    page.get_by_label("Title").fill("From the form")
    page.get_by_label("task", exact=True).select_option(label="generic")
    page.get_by_label("data.train").fill("dataset:tickets")
    page.get_by_label("data.test").fill("dataset:tickets-test")
    page.get_by_label("teacher.model").fill("fake")
    page.get_by_label("student.model").fill("phi-4-mini")
    page.locator("summary", has=page.get_by_text("finetune", exact=True)).click()
    page.get_by_label("finetune.epochs").fill("3")  # the default
    page.get_by_label("finetune.learning_rate").fill("1e-4")
    page.locator("summary", has=page.get_by_text("budget", exact=True)).click()
    page.get_by_label("budget.usd").fill("5")
    assert page.get_by_role("button", name="Submit the job").count() == 0
    page.get_by_role("button", name="Estimate").click()
    shown = page.get_by_text("train 40, test 20")
    expect(shown).to_be_visible(timeout=30_000)  # the first estimate imports what it needs
    expect(page.get_by_text("the high end fits")).to_be_visible()
    sent: list[Any] = []
    page.on(
        "request", lambda request: request.method == "POST" and sent.append(request.post_data_json)
    )
    page.get_by_role("button", name="Submit the job").click()
    expect(page.get_by_role("heading", name="From the form")).to_be_visible()
    (listed,) = here.service.store.jobs()
    job = here.service.store.get(listed.name)
    assert job.spec.config["finetune"]["learning_rate"] == 1e-4
    assert sent[-1] == {
        "display_name": "From the form",
        "config": {
            "task": "generic",
            "data": {"train": "dataset:tickets", "test": "dataset:tickets-test"},
            "teacher": {"model": "fake"},
            "student": {"model": "phi-4-mini"},
            "budget": {"usd": 5},
            "finetune": {"learning_rate": 1e-4},
        },
    }


def test_small_files_go_inside_the_submission(here: Running, opened: Opener) -> None:
    """Chosen or written, and back from the text; the service takes them as they are sent."""
    upload(here, "tickets", "train", 40)
    page = opened(here, Role.SUBMITTER).open("/submit")
    for section in ("generate", "prompts", "evaluate"):
        page.locator("summary", has=page.get_by_text(section, exact=True)).click()
    page.get_by_label("A file for generate.json_schema").set_input_files(
        {"name": "any.json", "mimeType": "application/json", "buffer": b'{"type": "object"}'}
    )
    schema = page.get_by_label("generate.json_schema", exact=True)
    expect(schema).to_have_value('{"type": "object"}')
    page.get_by_label("A file for prompts.documents").set_input_files(
        [
            {"name": f"{name} of ours.md", "mimeType": "text/markdown", "buffer": name.encode()}
            for name in ("one", "two")
        ]
    )
    page.get_by_label("evaluate.tasks_file", exact=True).fill("intent:\n  metric: label match\n")
    page.get_by_role("button", name="As text").click()
    text = page.get_by_label("The submission as JSON")
    asked = json.loads(text.input_value())
    assert asked["files"] == {
        "generate.json_schema.json": '{"type": "object"}',
        "prompts.documents": {"one-of-ours.md": "one", "two-of-ours.md": "two"},
        "evaluate.tasks_file.yaml": "intent:\n  metric: label match\n",
    }
    assert asked["config"]["generate"] == {"json_schema": "file:generate.json_schema.json"}
    page.get_by_role("button", name="As text").click()
    expect(schema).to_have_value('{"type": "object"}')
    page.get_by_role("button", name="As text").click()
    assert json.loads(text.input_value()) == asked
    del asked["config"]["prompts"]
    asked["config"] |= {"task": "generic", "data": {"train": "dataset:tickets"}}
    asked["config"] |= {"teacher": {"model": "fake"}, "student": {"model": "phi-4-mini"}}
    text.fill(json.dumps(asked))
    page.get_by_role("button", name="Estimate").click()
    page.get_by_role("button", name="Submit the job").click(timeout=30_000)
    expect(page.locator(".badge")).to_have_text("○Queued")
    (listed,) = here.service.store.jobs()
    config = here.service.store.get(listed.name).spec.config
    assert Path(config["generate"]["json_schema"]).read_text() == '{"type": "object"}'


def test_a_submission_goes_from_the_form_to_text_and_back(desk: Running, opened: Opener) -> None:
    page = opened(desk, Role.SUBMITTER).open("/submit")
    page.get_by_label("data.train").fill("dataset:tickets")
    page.get_by_role("button", name="As text").click()
    text = page.get_by_label("The submission as JSON")
    assert json.loads(text.input_value()) == {"config": {"data": {"train": "dataset:tickets"}}}
    changed = {"config": {"data": {"train": "dataset:other"}, "seed": 7}, "tags": {"team": "a=b"}}
    text.fill(json.dumps(changed))
    page.get_by_role("button", name="As text").click()
    expect(page.get_by_label("data.train")).to_have_value("dataset:other")
    expect(page.get_by_label("seed", exact=True)).to_have_value("7")
    expect(page.get_by_label("Tags")).to_have_value("team=a=b")


def test_the_quickstart_is_that_of_the_command(here: Running, opened: Opener) -> None:
    for split in ROWS:
        upload(here, f"quickstart-{split}", split if split in ("train", "test") else "test", 12)
    page = opened(here, Role.SUBMITTER).open("/submit")
    page.get_by_role("button", name="Fill in the quickstart").click()
    page.get_by_role("button", name="As text").click()
    filled = json.loads(page.get_by_label("The submission as JSON").input_value())["config"]
    wanted = job_config(0)
    wanted["data"] = {split: f"dataset:quickstart-{split}" for split in ROWS}
    for part in ("teacher", "student"):
        del wanted[part]["model"]
    del wanted["seed"]  # the default
    assert filled == wanted


def test_what_the_service_refuses_is_said_in_its_words(desk: Running, opened: Opener) -> None:
    tab = opened(desk, Role.SUBMITTER)
    page = tab.open("/submit")
    page.get_by_label("task", exact=True).select_option(label="generic")
    page.get_by_label("data.train").fill("/etc/passwd")
    page.get_by_label("teacher.model").fill("fake")
    page.get_by_label("student.model").fill("phi-4-mini")
    page.get_by_role("button", name="Estimate").click()
    expect(page.get_by_role("alert")).to_contain_text("data.train")
    assert page.get_by_role("button", name="Submit the job").count() == 0
    assert all("400" in line for line in tab.console)
    tab.console.clear()


def test_a_job_is_paused_resumed_cancelled_and_deleted(here: Running, opened: Opener) -> None:
    store = here.service.store
    seeding.queued(here.service, "job", "A job")
    tab = opened(here, Role.SUBMITTER)
    page = tab.open("/jobs/job")
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("dialog").get_by_role("button", name="No").click()
    assert store.get("job").state is State.QUEUED
    badge = page.locator(".badge")
    confirm(page, "Pause")
    expect(badge).to_have_text("‖Paused")
    page.get_by_role("button", name="Resume").click()
    expect(badge).to_have_text("○Queued")
    confirm(page, "Cancel the job")
    expect(badge).to_have_text("⊘Cancelled")
    assert store.get("job").state is State.CANCELED
    confirm(page, "Delete")
    expect(page.get_by_text("No jobs here")).to_be_visible()
    assert store.jobs() == []
    assert all("404" in line for line in tab.console)  # what was asked as it went
    tab.console.clear()


def test_a_running_job_is_asked_to_stop(here: Running, opened: Opener) -> None:
    lease = seeding.started(here.service, "job", "A job")
    page = opened(here, Role.SUBMITTER).open("/jobs/job")
    confirm(page, "Cancel the job")
    expect(page.locator(".badge")).to_have_text("⊘Cancelling")
    here.service.store.advance(lease, State.CANCELED)
    expect(page.locator(".badge")).to_have_text("⊘Cancelled")


def test_whoever_may_not_is_told_so(desk: Running, opened: Opener) -> None:
    tab = opened(desk, Role.VIEWER)
    page = tab.open("/jobs/going")
    confirm(page, "Pause")
    expect(page.get_by_role("alert")).to_contain_text("needs the role submitter")
    assert all("403" in line for line in tab.console)
    tab.console.clear()


def test_two_jobs_are_compared(desk: Running, opened: Opener) -> None:
    page = opened(desk).open()
    page.get_by_label("Choose Support desk, rank 16 for comparing").check()
    expect(page.get_by_role("button", name="Compare two")).to_be_disabled()
    page.get_by_label("Choose Support desk, rank 64 for comparing").check()
    page.get_by_role("button", name="Compare two").click()
    test = page.get_by_role("table", name="Is the difference real?")
    expect(test.get_by_role("row").nth(1)).to_contain_text("exact McNemar")
    expect(page.get_by_role("heading", level=2, name="first")).to_be_visible()
    expect(page.get_by_role("heading", level=2, name="second")).to_be_visible()
    settings = page.get_by_role("table", name="Settings that differ").get_by_role("row")
    expect(settings).to_have_text(["Settingfirstsecond", "student.lora_rank1664"])


def test_the_playground_asks_both(desk: Running, opened: Opener) -> None:
    """The answers are made up here: a model takes a worker, and those are tested elsewhere."""
    tab = opened(desk, Role.SUBMITTER)
    asked: list[Any] = []

    def answer(route: Any) -> None:
        asked.append(route.request.post_data_json)
        student = {"text": "On its way.", "seconds": 0.25}
        route.fulfill(json={"student": student, "teacher": None})

    tab.page.route("**/v1/jobs/first/ask", answer)
    page = tab.open("/playground?job=first")
    page.get_by_label("Question").fill("Where is order 9?")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("article").filter(has_text="Student")).to_contain_text(
        "0.25 sOn its way."
    )
    teacher = page.get_by_role("article").filter(has_text="Teacher")
    expect(teacher).to_contain_text("Not asked: its answer would cost money.")
    question = [{"role": "user", "content": "Where is order 9?"}]
    assert asked == [{"messages": question, "max_tokens": 256, "pay": False}]


def test_a_data_set_is_checked_uploaded_and_deleted(
    here: Running, opened: Opener, tmp_path: Path
) -> None:
    tab = opened(here, Role.SUBMITTER)
    page = tab.open("/datasets")
    bad, good = tmp_path / "my rows.jsonl", tmp_path / "good.jsonl"
    bad.write_text('{"messages": []}\n{"x": 1}\n')
    good.write_text(
        "".join(
            f'{{"id": "r{i}", "prompt": "Where is {i}?", "response": "x"}}\n' for i in range(12)
        )
    )
    page.get_by_label("File (JSONL)").set_input_files(bad)
    expect(page.get_by_label("Name")).to_have_value("my-rows")
    page.get_by_role("button", name="Upload").click()
    rows = page.get_by_role("table", name="Rows that are not valid").get_by_role("row")
    expect(rows.nth(1)).to_contain_text("messages")
    expect(rows.nth(2)).to_contain_text("2messagesis missing")
    assert all("400" in line for line in tab.console)
    tab.console.clear()
    page.get_by_label("File (JSONL)").set_input_files(good)
    page.get_by_role("button", name="Upload").click()
    listed = page.get_by_role("table", name="Data sets").get_by_role("row")
    expect(listed.nth(1)).to_contain_text("my-rows112")
    page.get_by_role("button", name="Delete my-rows").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No data sets yet.")).to_be_visible()


def test_a_model_is_shown_with_its_interval(desk: Running, opened: Opener) -> None:
    page = opened(desk).open("/models")
    row = page.get_by_role("table", name="Registered models").get_by_role("row").nth(1)
    expect(row).to_contain_text("86% [83.2%, 88.5%]")
    page.get_by_role("link", name="desk", exact=True).click()
    expect(page.get_by_role("heading", name="desk 1")).to_be_visible()
    expect(page.get_by_role("button", name="Evaluate")).to_be_visible()


def test_an_admin_makes_a_token_that_works_and_takes_it_away(here: Running, opened: Opener) -> None:
    page = opened(here).open("/admin")
    page.get_by_label("Name").fill("bo")
    page.get_by_label("Role").select_option("submitter")
    page.get_by_role("button", name="Make a token").click()
    token = page.locator(".token").inner_text()
    owner = here.service.tokens.find(token)
    assert owner and (owner.name, owner.role) == ("bo", Role.SUBMITTER)
    page.get_by_role("button", name="Delete the token bo").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("row", name="bo")).to_have_count(0)
    assert here.service.tokens.find(token) is None
    page.reload()
    expect(page.get_by_role("table", name="Audit log")).to_contain_text("POST /v1/tokens")
