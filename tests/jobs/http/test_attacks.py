"""No path, name or address of a caller leads out of the workspace."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mwalimu.jobs.records import Role
from tests.figures import record
from tests.jobs.http.attacks import ADDRESSES, MODELS, PATHS, REFERENCES
from tests.jobs.http.configs import CALLED, FILES, GOOD, NAMED, ROWS, SECRET, written
from tests.jobs.service import Running

LONG = bool(os.environ.get("MWALIMU_LONG"))


class Canary:
    """A port of this machine that nobody may call."""

    def __init__(self) -> None:
        self.calls = 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                self.socket.accept()[0].close()
            except OSError:
                return
            self.calls += 1


@pytest.fixture(scope="module")
def canary() -> Iterator[Canary]:
    found = Canary()
    yield found
    found.socket.close()


def before_and_after(service: Running) -> set[Path]:
    return set(service.service.workspace.root.parent.glob("*"))


def test_the_config_that_attacks_are_written_into_is_good(guarded: Running) -> None:
    """Else a refusal would prove nothing."""
    good = "https://allowed.example/v1"
    wanted = [(k, "dataset:good") for k in FILES[:4]] + [("prompts.seeds", "dataset:good")]
    wanted += [(key, "fake") for key in NAMED if not key.startswith("student")]
    wanted += [(key, "microsoft/phi-4") for key in ("student.model", "teacher.tokenizer")]
    wanted += [(key, good) for key in CALLED] + [("teacher.base_url", good + "/chat/")]
    with guarded.client() as client:
        for key, value in wanted:
            answer = client.post("/v1/jobs", json={"config": written(key, value)})
            assert answer.status_code == 201, f"{key} {value}: {answer.text}"


def test_no_text_of_a_config_leads_anywhere(guarded: Running, canary: Canary) -> None:
    before, tried = before_and_after(guarded), 0
    payloads = [*_each(FILES, PATHS + REFERENCES), *_each(NAMED, PATHS + MODELS)]
    payloads += _each(CALLED, ADDRESSES + PATHS)
    with guarded.client() as client:
        jobs = len(client.get("/v1/jobs", params={"limit": 500}).json()["jobs"])
        for key, text in payloads:
            text = text.replace("{port}", str(canary.port))
            answer = client.post("/v1/jobs", json={"config": written(key, text)})
            assert answer.status_code == 400, f"{key} {text!r}: {answer.status_code} {answer.text}"
            assert SECRET not in answer.text and "root:" not in answer.text
            assert answer.headers["content-type"] == "application/json"
            tried += 1
        assert len(client.get("/v1/jobs", params={"limit": 500}).json()["jobs"]) == jobs
    assert canary.calls == 0 and before_and_after(guarded) == before
    record("R20", "texts of a config", tried=tried)


def _each(keys: tuple[str, ...], texts: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Every text under some key, every key with some text; all under all in the long form."""
    for i, key in enumerate(keys):
        for j, text in enumerate(texts):
            of_hub = text in PLAIN and key.endswith(("model", "tokenizer"))
            if not of_hub and (LONG or i == j % len(keys)):
                yield key, text


def test_a_webhook_goes_to_no_inner_address(guarded: Running, canary: Canary) -> None:
    good = ("https://hooks.example/x?y=1", "https://8.8.8.8/hook")
    inner = (
        *("https://127.0.0.1/", "https://[::1]/", "https://10.1.2.3/", "https://169.254.169.254/"),
        *("https://0.0.0.0/", "https://[::ffff:10.0.0.1]/", "https://[fd00::1]/", "x", ""),
        *("http://hooks.example/", "https://user@hooks.example/", "https://hooks.example:22/"),
        *(
            "https://hooks.example/\r\nX: y",
            "file:///etc/passwd",
            f"http://127.0.0.1:{canary.port}/",
        ),
    )
    with guarded.client() as client:
        for text in good + inner:
            answer = client.post("/v1/jobs", json={"config": GOOD, "webhook": text})
            assert answer.status_code == (201 if text in good else 400), f"{text}: {answer.text}"
    assert canary.calls == 0


PLAIN = ("service.db", "service.db-wal", "nul.txt", "CON")
"""Good names of a job, and of a model that might be on the hub: they are no paths here."""


def test_no_name_in_a_request_leads_anywhere(guarded: Running) -> None:
    before, tried = before_and_after(guarded), 0
    with guarded.client(Role.ADMIN) as client:
        job = client.post("/v1/jobs", json={"config": GOOD}).json()["name"]
        for text in PATHS + REFERENCES:
            quoted = "".join(f"%{byte:02x}" for byte in text.encode("utf-8", "surrogatepass"))
            for path in (
                f"/v1/jobs/{quoted}/logs",
                f"/v1/jobs/{quoted}/artefacts/run.json",
                f"/v1/jobs/{job}/artefacts/{quoted}",
                f"/v1/models/{quoted}/1/download",
                f"/v1/datasets/{quoted}",
                f"/static/{quoted}",
            ):
                answer = client.get(path)
                assert SECRET not in answer.text and "root:" not in answer.text, path
                assert not answer.is_success or "/datasets/" not in path, path
                assert answer.status_code in (307, 400, 404, 405) or text in ("", "."), (
                    f"{path} {text!r}: {answer.status_code} {answer.text[:200]}"
                )
                tried += 1
            assert client.put(f"/v1/datasets/{quoted}", content=ROWS).status_code in ALLOWED
            answer = client.post("/v1/jobs", json={"config": GOOD, "name": text})
            assert answer.status_code == 400 or text in PLAIN, f"{text!r}: {answer.text}"
            tried += 2
    assert before_and_after(guarded) == before
    record("R20", "names in requests", tried=tried)


ALLOWED = (201, 307, 400, 404, 405, 414)
"""201 for what is a plain name after all, such as nul.txt."""


def test_what_could_run_code_or_send_something_elsewhere_is_refused(guarded: Running) -> None:
    refused = {
        "student.trust_remote_code": True,
        "teacher.api_key_env": "AWS_SECRET_ACCESS_KEY",
        "teacher.identity": "gpt-4",
        "teacher.extra_body": {"model": "gpt-4"},
        "teacher.usd_per_million_input": 0.0,
        "teacher.usd_per_million_output": 1e-9,
        "teacher.batch_factor": 0.01,
        "finetune.track": ["wandb"],
    }
    with guarded.client() as client:
        for key, value in refused.items():
            answer = client.post("/v1/jobs", json={"config": written(key, value)})
            assert answer.status_code == 400, f"{key}: {answer.text}"
            assert answer.json()["error"]["where"] == key
        taken = {"finetune.track": ["tensorboard"], "teacher.extra_body": {"seed": 1}}
        for key, value in taken.items():
            answer = client.post("/v1/jobs", json={"config": written(key, value)})
            assert answer.status_code == 201, answer.text


def test_a_key_goes_to_no_resource_of_somebody_elses(
    guarded: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Azure's domains are everybody's: a key for them may not be sent to any host there."""
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "k" * 32)
    teacher = {
        "model": "gpt-4o",
        "kind": "azure",
        "base_url": "https://evil.openai.azure.com",
        "deployment": "d",
    }
    with guarded.client() as client:
        answer = client.post("/v1/jobs", json={"config": GOOD | {"teacher": teacher}})
    assert answer.status_code == 400
    assert answer.json()["error"]["where"] == "teacher.base_url"
