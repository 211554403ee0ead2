"""What is seen of jobs, and how it follows what happens."""

from __future__ import annotations

from mwalimu.jobs.records import Role
from mwalimu.jobs.states import State
from tests.jobs.dashboard import seeding
from tests.jobs.dashboard.browsing import expect
from tests.jobs.dashboard.conftest import Opener
from tests.jobs.service import Running
from tests.jobs.waiting import wait_for

HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_signs_in_by_the_address_which_then_holds_no_token(desk: Running, opened: Opener) -> None:
    tab = opened(desk, Role.VIEWER)
    page = tab.open()
    expect(page.get_by_text("vera · viewer")).to_be_visible()
    assert desk.tokens[Role.VIEWER] not in page.url
    assert page.evaluate("[localStorage.length, document.cookie]") == [1, ""]
    assert page.get_by_role("link", name="Admin").count() == 0


def test_signs_in_by_the_form_and_out(desk: Running, opened: Opener) -> None:
    page = opened(desk, None).page
    page.goto(desk.url)
    page.get_by_label("Token").fill(desk.tokens[Role.ADMIN])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Jobs")).to_be_focused()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Token")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


def test_a_bad_token_leads_back_to_the_form(desk: Running, opened: Opener) -> None:
    tab = opened(desk, None)
    tab.page.goto(f"{desk.url}/#token=nobody")
    expect(tab.page.get_by_label("Token")).to_be_visible()
    assert all("401" in line for line in tab.console)
    tab.console.clear()


def test_the_list_is_live(here: Running, opened: Opener) -> None:
    seeding.queued(here.service, "old", "Old")
    page = opened(here).open()
    expect(page.get_by_role("row", name="Old")).to_contain_text("Queued")
    lease = seeding.started(here.service, "new", "New")
    row = page.get_by_role("row", name="New")
    expect(row).to_contain_text("Running")
    here.service.store.report(lease, "progress", seeding.progress("finetune", 3, 4, "loss 1.2"))
    here.service.store.report(lease, "spent", {"usd": 1.25, "requests": 7})
    expect(row.get_by_role("progressbar", name="Training")).to_have_attribute("value", "0.75")
    expect(row).to_contain_text("loss 1.2")
    expect(row).to_contain_text("$1.25")
    here.service.store.cancel("old")
    expect(page.get_by_role("row", name="Old")).to_contain_text("Cancelled")
    expect(page.get_by_role("status")).to_have_text("old is now: Cancelled")


def test_the_list_is_filtered_and_paged(here: Running, opened: Opener) -> None:
    for number in range(52):
        seeding.queued(here.service, f"job-{number}", f"Number {number}", owner="vera")
    here.service.store.cancel("job-7")
    page = opened(here).open()
    expect(page.locator("tbody tr")).to_have_count(50)
    page.get_by_role("link", name="Older").click()
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_role("button", name="Newer").click()
    expect(page.locator("tbody tr")).to_have_count(50)
    page.get_by_label("State").select_option("Canceled")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("Number 7")
    page.get_by_label("Owner").fill("sam")
    page.keyboard.press("Enter")
    expect(page.get_by_text("No jobs here")).to_be_visible()


def test_a_stream_that_breaks_is_taken_up_where_it_was(here: Running, opened: Opener) -> None:
    lease = seeding.started(here.service, "going", "Going")
    page = opened(here).open("/jobs/going/events")
    expect(page.locator("tbody tr")).to_have_count(4)
    feed = here.server.app.state.feed  # type: ignore[attr-defined]
    feed._reader.get_loop().call_soon_threadsafe(feed.close)
    expect(page.get_by_title("No connection; trying again")).to_be_visible()
    here.service.store.report(lease, "progress", seeding.progress("generate", 1, 2, "unheard"))
    feed.closed = False
    here.service.store.report(lease, "progress", seeding.progress("finetune", 2, 2, "heard"))
    expect(page.locator("tbody tr")).to_have_count(6)
    told = [row.rpartition(" ")[2] for row in page.locator("tbody tr").all_inner_texts()[:2]]
    assert told == ["heard", "unheard"]
    expect(page.get_by_title("Live: changes are shown as they happen")).to_be_visible()


def test_a_page_that_nobody_sees_holds_no_connection(here: Running, opened: Opener) -> None:
    lease = seeding.started(here.service, "going", "Going")
    log = here.service.workspace.log("going")
    log.parent.mkdir(parents=True)
    log.write_text("ä first line\n")
    page = opened(here).open("/jobs/going/logs")
    expect(page.get_by_role("log")).to_have_text("ä first line\n")
    feed = here.server.app.state.feed  # type: ignore[attr-defined]
    wait_for(lambda: feed._listeners == 1)
    page.evaluate(HIDE, True)
    log.write_text("ä first line\nunseen\n")
    here.service.store.advance(lease, State.FINALIZING)
    wait_for(lambda: feed._listeners == 0)
    page.evaluate(HIDE, False)
    expect(page.get_by_role("log")).to_have_text("ä first line\nunseen\n")
    expect(page.locator(".badge")).to_have_text("◕Finalising")


def test_the_stages_move_as_they_go(here: Running, opened: Opener) -> None:
    lease = seeding.started(here.service, "going", "Going")
    page = opened(here).open("/jobs/going")
    stage = page.get_by_role("listitem").filter(has_text="Training")
    expect(stage).to_contain_text("waiting")
    here.service.store.report(lease, "progress", seeding.progress("finetune", 3, 4, "loss 1.2"))
    expect(stage).to_contain_text("running")
    expect(stage).to_contain_text("3 / 4")
    expect(stage.get_by_role("progressbar", name="Training")).to_have_attribute("value", "0.75")
    here.service.store.advance(lease, State.FINALIZING)
    here.service.store.advance(lease, State.COMPLETED, summary={"rows": 3})
    expect(page.locator(".badge")).to_have_text("✓Completed")
    expect(page.get_by_role("button", name="Cancel the job")).to_have_count(0)


def test_a_job_tells_its_stages_money_and_what_was_left_out(desk: Running, opened: Opener) -> None:
    page = opened(desk).open("/jobs/first")
    expect(page.get_by_role("heading", level=1)).to_have_text("Support desk, rank 16")
    for stage in ("Teacher's answers", "Curation", "Training", "Evaluation"):
        expect(page.get_by_role("listitem").filter(has_text=stage)).to_contain_text("done")
    expect(page.get_by_text("$12.40 of $40.00")).to_be_visible()
    expect(page.get_by_text("880 of 1,000 kept")).to_be_visible()
    reasons = page.get_by_role("table", name="Left out in Prompts answered, by reason")
    expect(reasons.get_by_role("row").nth(1)).to_have_text("truncated80")


def test_curves_grow_and_can_be_read_as_a_table(here: Running, opened: Opener) -> None:
    seeding.started(here.service, "going", "Going")
    metrics = here.service.workspace.run("going") / "finetune" / "metrics.jsonl"
    seeding.write_lines(metrics, [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0}])
    page = opened(here).open("/jobs/going/curves")
    loss = page.locator("figure", has=page.get_by_text("Loss", exact=False)).first
    expect(loss.get_by_role("img")).to_have_accessible_name("Loss. Loss: from 3 to 2.")
    with open(metrics, "a") as handle:
        handle.write('{"step": 3, "loss": 1.5}\n{"step": 3, "validation_loss": 1.75}\n')
    name = "Loss. Loss: from 3 to 1.5. Validation loss: from 1.75 to 1.75."
    expect(loss.get_by_role("img")).to_have_accessible_name(name)
    loss.get_by_role("img").focus()
    page.keyboard.press("Home")
    expect(loss.locator(".reading")).to_contain_text("step 1")
    page.keyboard.press("ArrowRight")
    expect(loss.locator(".reading")).to_contain_text("step 2Loss 2")
    loss.get_by_text("As a table").click()
    rows = loss.get_by_role("table").get_by_role("row")
    expect(rows).to_have_text(["stepLossValidation loss", "131.75", "221.75", "31.51.75"])


def test_the_log_is_followed_to_its_end(here: Running, opened: Opener) -> None:
    seeding.started(here.service, "going", "Going")
    log = here.service.workspace.log("going")
    seeding.write_log(log)
    page = opened(here).open("/jobs/going/logs")
    shown = page.get_by_role("log")
    expect(shown).to_contain_text("step 199")
    with open(log, "a") as handle:
        handle.write("the last line\n")
    expect(shown).to_contain_text("the last line")
    assert shown.evaluate("log => log.scrollHeight - log.scrollTop - log.clientHeight < 2")


def test_answers_stand_beside_each_other_and_scores_have_intervals(
    desk: Running, opened: Opener
) -> None:
    page = opened(desk).open("/jobs/first/samples")
    sample = page.get_by_role("article").first
    expect(sample).to_contain_text("It is on its way (teacher).")
    expect(sample).to_contain_text("It is on its way (student-distilled).")
    page.get_by_role("link", name="Scores").click()
    arms = page.get_by_role("table", name="What each arm scored")
    expect(arms.get_by_role("row").filter(has_text="student-distilled")).to_contain_text(
        "86% [83.2%, 88.5%]"
    )


def test_files_are_taken_home_and_the_config_is_yaml(desk: Running, opened: Opener) -> None:
    import yaml

    page = opened(desk).open("/jobs/first/files")
    with page.expect_download() as found:
        page.get_by_role("button", name="Download evaluate/scores.json").click()
    there = desk.service.workspace.run("first") / "evaluate" / "scores.json"
    assert found.value.path().read_bytes() == there.read_bytes()
    page.get_by_role("link", name="Config").click()
    shown = page.locator("pre").inner_text()
    with desk.client() as client:
        assert yaml.safe_load(shown) == client.get("/v1/jobs/first/config").json()
