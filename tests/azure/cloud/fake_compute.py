"""A compute of the fake Azure: it runs what a command job says, in a real shell."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.azure.cloud.answers import WORKSPACE, FakeAzure

SOURCE = Path(__file__).parents[3] / "src"


class FakeCompute:
    """Inputs and outputs are folders here and blobs there, as with Azure's mounts."""

    def __init__(self, azure: FakeAzure, folder: Path) -> None:
        self.azure = azure
        self.folder = folder
        self.taken: set[str] = set()
        programs = folder / "bin"
        programs.mkdir()
        for name, arguments in (("python", ""), ("mwalimu", "-m mwalimu")):
            (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {arguments} "$@"\n')
            (programs / name).chmod(0o755)
        self.path = f"{programs}{os.pathsep}{os.environ['PATH']}"

    def start(self, name: str) -> tuple[subprocess.Popen[str], dict[str, Path]]:
        """The running command, and the folders of the job by their names in it."""
        body = self.azure.jobs[name]
        self.taken.add(name)
        places = {}
        for side in ("inputs", "outputs"):
            for key, entry in body.get(side, {}).items():
                places[f"{side}.{key}"] = self._mounted(name, side, key, entry.get("uri", ""))
        line = body["command"]
        for key, place in places.items():
            line = line.replace(f"${{{{{key}}}}}", str(place))
        process = subprocess.Popen(
            ["/bin/bash", "-c", line],
            cwd=self.folder,
            env={
                "PATH": self.path,
                "HOME": str(self.folder),
                "PYTHONPATH": str(SOURCE),
                "HF_HUB_OFFLINE": "1",
                "OMP_NUM_THREADS": "1",
                **body["environmentVariables"],
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return process, places

    def execute(self, name: str) -> str:
        """All of it; returns what it said."""
        process, places = self.start(name)
        said, _ = process.communicate()
        self.finish(name, places, process.returncode)
        return said

    def serve(self, wait_s: float = 60.0) -> None:
        """The next job that comes."""
        ends = time.monotonic() + wait_s
        while time.monotonic() < ends:
            waiting = [name for name in list(self.azure.jobs) if name not in self.taken]
            if waiting:
                self.execute(waiting[0])
                return
            time.sleep(0.02)

    def finish(self, name: str, places: dict[str, Path], code: int) -> None:
        """What was written is stored; a model is registered where the job has ended well."""
        for key, entry in self.azure.jobs[name]["outputs"].items():
            model = entry.get("assetName")
            address = entry.get("uri") or f"azureml://datastores/d/paths/models/{name}/{key}/"
            start = address.partition("/paths/")[2]
            place = places[f"outputs.{key}"]
            for file in place.rglob("*"):
                if file.is_file():
                    self.azure.blobs[start + str(file.relative_to(place))] = file.read_bytes()
            if model and code == 0:
                self._register(model, name, start)
        self.azure.status[name] = ["Completed" if code == 0 else "Failed"]

    def _mounted(self, job: str, side: str, key: str, address: str) -> Path:
        place = self.folder / job / side / key
        place.mkdir(parents=True)
        if address.startswith(f"{WORKSPACE}/models/"):
            address = self.azure.assets[address.removeprefix(f"{WORKSPACE}/")]["modelUri"]
        start = address.partition("/paths/")[2]
        for name, data in list(self.azure.blobs.items()):
            if start and name.startswith(start):
                file = place / name.removeprefix(start).lstrip("/")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
        return place

    def _register(self, model: str, job: str, start: str) -> None:
        version = sum(place.startswith(f"models/{model}/") for place in self.azure.assets) + 1
        storage = f"azureml:/{WORKSPACE}/datastores/workspaceblobstore/paths/{start}"
        kind = {"modelType": "custom_model", "flavors": {}}
        known: dict[str, Any] = {**kind, "jobName": job, "modelUri": storage}
        self.azure.assets[f"models/{model}/versions/{version}"] = known

    def forget(self, name: str) -> None:
        """A compute's own disk does not outlive its job."""
        shutil.rmtree(self.folder / name)
