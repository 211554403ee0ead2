"""Real servers of one workspace, one after the other on the same port; they take no jobs."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import yaml

from mwalimu.jobs.client.place import Place
from mwalimu.jobs.hosting.local import find
from mwalimu.jobs.workspace import Workspace


class Servers:
    """`settings` are those of server.yaml."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.workspace = Workspace(folder)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.settings = folder.with_name(f"{folder.name}.yaml")
        given = {"workspace": str(folder), "port": port, "slots": {"cpu": 0}, **settings}
        self.settings.write_text(yaml.safe_dump(given))

    def start(self) -> Place:
        command = [sys.executable, "-m", "mwalimu", "server", "--settings", str(self.settings)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + 60
        while (found := find(self.workspace)) is None:
            assert self.process.poll() is None and time.monotonic() < until
            time.sleep(0.05)
        return found

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(how)
        self.process.wait(60)
