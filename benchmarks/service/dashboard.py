"""The dashboard's weight, and how soon and how smoothly it shows jobs, of 1,000 in the store.

    python -m benchmarks.service.dashboard [--rounds 7]

Times are those of headless Chromium on this machine, from the address to the moment, as medians of
the rounds and their range; `longest task` is the longest stretch in which a page does not react.
"""

from __future__ import annotations

import argparse
import gzip
import statistics
import tempfile
from pathlib import Path
from typing import Any

from tests.jobs.dashboard import seeding
from tests.jobs.dashboard.browsing import browser, tab
from tests.jobs.service import Running, running

from mwalimu.jobs.dashboard import packaged
from mwalimu.jobs.records import Role

JOBS, PAGE, EVENTS = 1000, 500, 500  # PAGE: as many as the service lists at once
WATCH = """
window.__tasks = [];
new PerformanceObserver((list) => {
  window.__tasks.push(...list.getEntries().map((one) => one.duration));
}).observe({ type: "longtask", buffered: true });
"""
FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
LOADED = """
performance.getEntriesByType('resource').filter((one) => one.name.includes('/static/'))
  .map((one) => one.name.split('/static/')[1])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    weigh("all files", list(packaged()))
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder)) as here,
        browser() as chrome,
    ):
        for number in range(JOBS):
            seeding.queued(
                here.service, f"job-{number}", f"Number {number}", owner=f"vera-{number % 20}"
            )
        lease = seeding.started(here.service, "going", "Going")
        weigh("the list's files", measured(chrome, here, 50)["files"])
        for limit in (50, PAGE):
            found = [measured(chrome, here, limit) for _ in range(rounds)]
            for key in ("first paint", "all rows", "longest task"):
                show(f"{limit} jobs: {key}", [one[key] for one in found])
        show(f"{EVENTS} events over {PAGE} rows: longest task", [lively(chrome, here, lease)])


def weigh(what: str, names: list[str]) -> None:
    files = packaged()
    chosen = [files[name].content for name in {*names, "index.html"}]
    squeezed = sum(len(gzip.compress(content)) for content in chosen)
    whole = sum(map(len, chosen))
    print(f"{what}: {len(chosen)}, {whole / 1024:.1f} KiB, {squeezed / 1024:.1f} KiB by gzip")


def show(what: str, milliseconds: list[float]) -> None:
    low, middle, high = min(milliseconds), statistics.median(milliseconds), max(milliseconds)
    print(f"{what}: {middle:.0f} ms ({low:.0f} to {high:.0f})")


def measured(chrome: Any, here: Running, limit: int) -> dict[str, Any]:
    """One visit with nothing in the cache."""
    with tab(chrome, here.url, None) as one:
        page = one.page
        page.add_init_script(WATCH)
        token = here.tokens[Role.ADMIN]
        page.add_init_script(f"sessionStorage.setItem('mwalimu.token', '{token}')")
        page.goto(f"{here.url}/#/jobs?limit={limit}")
        page.wait_for_selector(f"tbody tr:nth-child({limit})", state="attached")
        shown = page.evaluate("performance.now()")
        page.wait_for_timeout(200)
        return {
            "first paint": page.evaluate(FIRST_PAINT),
            "all rows": shown,
            "longest task": page.evaluate("Math.max(0, ...window.__tasks)"),
            "files": page.evaluate(LOADED),
        }


def lively(chrome: Any, here: Running, lease: Any) -> float:
    with tab(chrome, here.url, here.tokens[Role.ADMIN]) as one:
        one.page.add_init_script(WATCH)
        page = one.open(f"/jobs?limit={PAGE}")
        page.wait_for_selector(f"tbody tr:nth-child({PAGE})", state="attached")
        page.evaluate("window.__tasks.length = 0")
        for done in range(EVENTS):
            told = seeding.progress("finetune", done + 1, EVENTS, f"step {done + 1}")
            here.service.store.report(lease, "progress", told)
        page.get_by_text(f"step {EVENTS}", exact=False).wait_for()
        page.wait_for_timeout(200)
        return float(page.evaluate("Math.max(0, ...window.__tasks)"))


if __name__ == "__main__":
    main()
