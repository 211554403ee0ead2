"""A real headless Chromium, driven over the DevTools protocol, that tells all it asks for."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aiohttp

from mwalimu.errors import MissingDependency
from mwalimu.export.web.npm import PINNED, fetch

NONE: Mapping[str, str] = {}
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu-sandbox",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--no-first-run",
    "--no-default-browser-check",
    "--remote-debugging-port=0",
    "--window-size=900,1100",
    # Whatever a page asks for beside this machine is not found, and is recorded all the same.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def chromium() -> str | None:
    return next(filter(None, map(shutil.which, _NAMES)), None)


@cache
def missing(*, browser: bool = True) -> str:
    """Why the page cannot be tried on this machine; "" where it can."""
    if browser and chromium() is None:
        return "no Chromium is installed"
    if not browser and shutil.which("node") is None:
        return "node is not installed"
    try:
        for package in PINNED:
            fetch(package)
    except MissingDependency as error:
        return str(error)
    return ""


@contextmanager
def served(folder: Path, headers: Mapping[str, str] = NONE) -> Iterator[str]:
    """The folder's address on a static server that sends these headers and no other of note."""

    class Handler(SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            for name, value in headers.items():
                self.send_header(name, value)
            super().end_headers()

        def log_message(self, format: str, *values: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


class Page:
    """A page and its workers: their requests, their console, and JavaScript run in the page."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.requests: list[str] = []
        self.console: list[str] = []
        self.workers: list[str] = []
        self._socket = socket
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._session = ""
        self._count = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, url: str) -> None:
        target = await self.send("Target.createTarget", url="about:blank")
        answer = await self.send("Target.attachToTarget", flatten=True, **target)
        self._session = answer["sessionId"]
        await self._watch(self._session)
        await self.send("Page.enable", session=self._session)
        await self.send("Page.navigate", session=self._session, url=url)
        await self.until("location.href !== 'about:blank' && document.readyState === 'complete'")

    async def run(self, script: str, *, worker: int | None = None) -> Any:
        """The value of an expression; a promise is waited for."""
        session = self._session if worker is None else self.workers[worker]
        result = await self.send(
            "Runtime.evaluate",
            session=session,
            expression=script,
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    async def until(self, script: str, *, seconds: float = 60) -> Any:
        """The first true value of an expression."""
        async with asyncio.timeout(seconds):
            while not (value := await self.run(script)):
                await asyncio.sleep(0.02)
            return value

    async def type(self, text: str) -> None:
        await self.send("Input.insertText", session=self._session, text=text)

    async def press(self, key: str) -> None:
        code = {"Enter": 13, "Escape": 27}[key]
        for kind in ("keyDown", "keyUp"):
            await self.send(
                "Input.dispatchKeyEvent",
                session=self._session,
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                text="\r" if (key, kind) == ("Enter", "keyDown") else "",
            )

    async def picture(self, path: Path, *, scheme: str = "light") -> None:
        feature = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.send("Emulation.setEmulatedMedia", session=self._session, features=feature)
        shot = await self.send("Page.captureScreenshot", session=self._session, format="png")
        path.write_bytes(base64.b64decode(shot["data"]))

    async def send(self, method: str, *, session: str = "", **parameters: Any) -> Any:
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        self._waiting[self._count] = asyncio.get_running_loop().create_future()
        await self._socket.send_str(
            json.dumps(message | ({"sessionId": session} if session else {}))
        )
        return await self._waiting[self._count]

    async def listen(self) -> None:
        async for message in self._socket:
            data = json.loads(message.data)
            if "id" in data:
                waiting = self._waiting.pop(data["id"])
                if "error" in data:
                    waiting.set_exception(RuntimeError(data["error"]["message"]))
                else:
                    waiting.set_result(data["result"])
            else:
                self._hear(data["method"], data["params"])

    def _hear(self, method: str, event: Any) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(event["request"]["url"])
        elif method == "Runtime.consoleAPICalled":
            words = [str(one.get("value", one.get("description"))) for one in event["args"]]
            self.console.append(" ".join(words))
        elif method == "Runtime.exceptionThrown":
            self.console.append(json.dumps(event["exceptionDetails"])[:500])
        elif method == "Log.entryAdded":
            self.console.append(event["entry"]["text"])
        elif method == "Target.attachedToTarget" and event["targetInfo"]["type"] == "worker":
            self.workers.append(event["sessionId"])
            task = asyncio.create_task(self._watch(event["sessionId"]))
            self._tasks.add(task)

    async def _watch(self, session: str) -> None:
        for domain in ("Network", "Runtime", "Log"):
            await self.send(f"{domain}.enable", session=session)
        await self.send(
            "Target.setAutoAttach",
            session=session,
            autoAttach=True,
            waitForDebuggerOnStart=True,
            flatten=True,
        )
        await self.send("Runtime.runIfWaitingForDebugger", session=session)


@asynccontextmanager
async def opened(url: str, *options: str) -> AsyncIterator[Page]:
    """A page of a browser of its own, at this address."""
    profile = tempfile.mkdtemp()
    program = chromium()
    assert program
    process = subprocess.Popen(
        [program, *_OPTIONS, *options, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with aiohttp.ClientSession() as client:
            address = await _address(Path(profile) / "DevToolsActivePort")
            async with client.ws_connect(address, max_msg_size=0) as socket:
                page = Page(socket)
                listening = asyncio.create_task(page.listen())
                await page.open(url)
                yield page
                listening.cancel()
    finally:
        os.killpg(process.pid, 9)
        process.wait()
        shutil.rmtree(profile, ignore_errors=True)


async def _address(file: Path) -> str:
    async with asyncio.timeout(60):
        while not (file.exists() and len(lines := file.read_text().split()) == 2):
            await asyncio.sleep(0.05)
    return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
