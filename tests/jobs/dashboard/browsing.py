"""Pages of a real headless Chromium, and what each of them did that it should not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu-sandbox",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    # Whatever a page asks for beside this machine is not found, and is recorded all the same.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
WATCH = """
window.__ran = [];
for (const name of ["alert", "confirm", "prompt", "print"]) {
  window[name] = (...given) => window.__ran.push(`${name} ${given}`);
}
window.__violations = [];
addEventListener("securitypolicyviolation", (event) =>
  window.__violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""

GO = """
(place) => location.hash === `#${place}` || new Promise((there) => {
  addEventListener("hashchange", there, { once: true });
  location.hash = place;
})
"""


def chromium() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=chromium(), args=list(OPTIONS))
        yield found
        found.close()


class Tab:
    """A page signed in by its address; `console`, `requests` and `dialogs` are what it did."""

    def __init__(self, context: Any, url: str, token: str | None) -> None:
        self.url = url
        self.token = token
        self.console: list[str] = []
        self.requests: list[str] = []
        self.page = context.new_page()
        self.page.set_default_timeout(15_000)
        self.page.add_init_script(WATCH)
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.console.append(f"thrown: {error}"))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.console.append(f"{message.text} {message.location.get('url', '')}")

    def open(self, place: str = "/jobs") -> Any:
        if self.page.url == "about:blank":
            self.page.goto(f"{self.url}/#token={self.token}" if self.token else self.url)
            self.page.wait_for_selector("main h1")
        self.page.evaluate(GO, place)
        self.settled(place)
        return self.page

    def settled(self, place: str) -> None:
        """The page of the address is shown and nothing is being loaded."""
        self.page.wait_for_url(f"{self.url}/#{place}")
        self.page.wait_for_selector("main h1")
        self.page.wait_for_selector("[aria-busy]", state="detached")

    @property
    def strayed(self) -> list[str]:
        ours = (self.url + "/", f"blob:{self.url}", "data:")
        return [url for url in self.requests if not url.startswith(ours)]

    @property
    def violations(self) -> list[str]:
        return list(self.page.evaluate("window.__violations"))

    @property
    def ran(self) -> list[str]:
        return list(self.page.evaluate("window.__ran"))

    def require_clean(self) -> None:
        """No script but ours ran, nothing was said on the console, nobody else was asked."""
        done = {"ran": self.ran, "violations": self.violations, "strayed": self.strayed}
        done["console"] = self.console
        assert not any(done.values()), done


@contextmanager
def tab(chrome: Any, url: str, token: str | None, **given: Any) -> Iterator[Tab]:
    """`given` are those of a context of playwright's."""
    context = chrome.new_context(**given)
    try:
        yield Tab(context, url, token)
    finally:
        context.close()
