"""A run as those see it who operate it: its lines, its metrics and its spans beside its journal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mwalimu.synthesis.store import MAGIC, SEGMENT, stored_frames
from mwalimu.telemetry.fields import FIELDS
from tests.command import mwalimu
from tests.figures import record
from tests.synthesis.faulty_server import Exchange, FaultyServer
from tests.telemetry.collector import Span, collector
from tests.test_cli import write_job

OTEL = "opentelemetry.exporter.otlp.proto.http"
ROWS = 24
SECRET = "quixotic"  # in every prompt; never to be logged
KEY = "sk-canary-0123456789-abcdef"


def plan(number: int, prompt: str) -> Callable[[Exchange], Any] | None:
    """Every third request fails in one of the ways that there are; one row is refused for good."""

    async def unwell(x: Exchange) -> None:
        await x.reply(json.dumps({"error": {"message": f"{KEY} {x.prompt}"}}).encode(), status=500)

    async def too_fast(x: Exchange) -> None:
        await x.reply(b"{}", status=429, headers={"Retry-After": "0.05"})

    async def too_much(x: Exchange) -> None:
        await x.reply(b"{}", status=503)

    async def lost(x: Exchange) -> None:
        x.reset()

    async def refused(x: Exchange) -> None:
        await x.reply(json.dumps({"error": {"message": x.prompt}}).encode(), status=400)

    if prompt.endswith(" 5"):
        return refused
    return [unwell, too_fast, too_much, lost][number // 3 % 4] if number % 3 == 1 else None


class Heard(FaultyServer):
    """`heads` are the headers of every chat request."""

    def __init__(self) -> None:
        super().__init__(plan)
        self.heads: list[dict[str, str]] = []

    async def _chat(self, exchange: Exchange) -> None:
        self.heads.append(exchange.headers)
        await super()._chat(exchange)


class Watched:
    """One run of `mwalimu generate` with everything on."""

    def __init__(self, folder: Path, *options: str, **env: str) -> None:
        self.folder = folder
        rows: list[object] = [{"prompt": f"a {SECRET} question {i}"} for i in range(ROWS)]
        with Heard() as self.server:
            teacher = {"model": "tiny", "base_url": self.server.url, "concurrency": 4}
            write_job(folder, rows, teacher=teacher | {"api_key_env": "TINY"})
            self.result = mwalimu(
                *("--log", "log.jsonl", "--metrics", "metrics.prom", *options),
                *("generate", "distill.yaml", "--min-ok", "0"),
                cwd=folder,
                TINY=KEY,
                **env,
            )
        self.text = (folder / "log.jsonl").read_text()
        self.lines: list[dict[str, Any]] = [json.loads(line) for line in self.text.splitlines()]
        self.run = json.loads((folder / "runs" / folder.name / "run.json").read_text())["id"]

    def of(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]

    def journal(self) -> dict[bytes, Counter[str]]:
        """Frames of each kind by key."""
        found: dict[bytes, Counter[str]] = {b"S": Counter(), b"A": Counter(), b"U": Counter()}
        segment = self.folder / ".mwalimu" / "answers" / SEGMENT
        descriptor = os.open(segment, os.O_RDONLY)
        for frame in stored_frames(descriptor, len(MAGIC), segment.stat().st_size):
            assert frame.run.hex() == self.run
            found[frame.kind][frame.key.hex()] += 1
        os.close(descriptor)
        return found


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    return Watched(tmp_path_factory.mktemp("watched"))


def test_every_sending_is_a_line_that_joins_with_the_journal(watched: Watched) -> None:
    assert watched.result.returncode == 0, watched.result.stderr
    journal, requests = watched.journal(), watched.of("request")
    assert Counter(line["request"] for line in requests) == journal[b"S"]
    answered = [line for line in requests if line["status"] == "answered"]
    assert Counter(line["request"] for line in answered) == journal[b"A"]
    statuses = Counter(line["status"] for line in requests)
    assert statuses.keys() == {"answered", "failed", "rate limited", "overloaded", "refused"}
    for line in requests:
        before = [one for one in requests if one["request"] == line["request"]]
        assert [one["attempt"] for one in before] == list(range(1, len(before) + 1))
        assert line["latency_s"] > 0 and line["teacher"] == "tiny@localhost"
    assert len(requests) > ROWS
    record("O1", "sendings to a faulty teacher, each a line that joins", tried=len(requests))


def test_every_line_tells_where_it_belongs(watched: Watched) -> None:
    inside = [line for line in watched.lines if line["event"] != "ended"]
    assert len(inside) > 2 * ROWS
    for line in inside:
        assert line.keys() <= FIELDS.keys()
        assert (line["run"], line["stage"]) == (watched.run, "generate"), line
        assert line["command"] == "generate" and line["pid"]
    names = {f"train-{number:06}" for number in range(1, ROWS + 1)}
    rows = watched.of("row")
    assert [line["row"] for line in rows] == sorted(names)
    assert {line["row"] for line in watched.of("request")} == names
    of_row = {line["row"]: line["request"] for line in rows}
    assert all(of_row[line["row"]] == line["request"] for line in watched.of("request"))
    (end,) = watched.of("ended")
    assert end["exit_code"] == 0 and watched.lines[-1] is end


def test_neither_text_nor_keys_are_in_it(watched: Watched) -> None:
    assert all(SECRET in prompt for prompt in watched.server.asked)
    everything = watched.text + (watched.folder / "metrics.prom").read_text()
    assert SECRET not in everything and KEY not in everything
    assert "answer " not in watched.text.replace('"answered', "")


def test_text_is_in_it_where_it_was_asked_for(tmp_path: Path) -> None:
    told = Watched(tmp_path, "--log-text")
    (refused,) = (line for line in told.of("request") if line["status"] == "refused")
    assert SECRET in json.dumps(refused["prompt"]) and SECRET in refused["answer"]
    answered = next(line for line in told.of("request") if line["status"] == "answered")
    assert answered["answer"].startswith("answer ")
    assert KEY not in told.text


def test_the_metrics_are_what_the_ledger_says(watched: Watched) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    text = (watched.folder / "metrics.prom").read_text()
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] += sample.value
            assert sample.labels.get("stage") == "generate", sample
    folder = watched.folder / "runs" / watched.folder.name / "generate"
    ledger = json.loads((folder / "ledger.json").read_text())
    assert found["mwalimu_teacher_requests_sent_total"] == ledger["requests_sent"]
    assert found["mwalimu_teacher_requests_answered_total"] == ROWS - 1
    assert found["mwalimu_teacher_retries_total"] == sum(ledger["retries"].values()) > 3
    assert found["mwalimu_teacher_prompt_tokens_total"] == ledger["tokens"]["prompt"]
    assert found["mwalimu_teacher_request_duration_seconds_count"] == ROWS - 1
    assert found["mwalimu_teacher_requests_in_flight"] == 0
    assert found["mwalimu_rows_total"] == ROWS


def test_the_server_is_told_the_request_that_the_journal_names(watched: Watched) -> None:
    told = [headers["x-request-id"] for headers in watched.server.heads]
    assert Counter(told) == watched.journal()[b"S"]


def test_the_spans_are_run_stage_and_request(tmp_path: Path) -> None:
    pytest.importorskip(OTEL)
    with collector() as found:
        told = Watched(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=found.url)
        assert told.result.returncode == 0, told.result.stderr
    spans = found.spans()
    by_name: dict[str, list[Span]] = {}
    for span in spans:
        by_name.setdefault(span.name, []).append(span)
    assert by_name.keys() == {"generate", "chat tiny"}
    (stage,) = by_name["generate"]
    assert stage.attributes == {"mwalimu.run": told.run, "mwalimu.stage": "generate"}
    assert not stage.parent and not stage.failed
    requests = by_name["chat tiny"]
    lines = told.of("request")
    assert len(requests) == len(lines)
    by_id = {span.id: span for span in requests}
    for line in lines:
        span = by_id[line["span"]]
        assert (span.parent, span.trace, span.kind) == (stage.id, line["trace"], "client")
        attributes = span.attributes
        assert attributes["mwalimu.request"] == line["request"]
        assert attributes["mwalimu.row"] == line["row"]
        assert attributes["mwalimu.attempt"] == line["attempt"]
        assert attributes["gen_ai.operation.name"] == "chat"
        assert attributes["gen_ai.provider.name"] == "openai"
        assert attributes["gen_ai.request.model"] == "tiny"
        if line["status"] == "answered":
            assert attributes["gen_ai.usage.input_tokens"] == 7
            assert attributes["gen_ai.usage.output_tokens"] == 3
            assert attributes["gen_ai.response.finish_reasons"] == ["stop"]
            assert not span.failed
        else:
            assert span.failed and attributes["error.type"] == line["status"]
    parents = {headers["traceparent"].rpartition("-")[0] for headers in told.server.heads}
    assert parents == {f"00-{span.trace}-{span.id}" for span in requests}
    assert SECRET.encode() not in b"".join(found.bodies)
    assert KEY.encode() not in b"".join(found.bodies)


def test_a_collector_that_is_away_costs_a_line(tmp_path: Path) -> None:
    pytest.importorskip(OTEL)
    told = Watched(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert told.result.returncode == 0
    assert told.result.stderr.count("traces do not arrive") == 1
    assert len(told.of("row")) == ROWS


def test_without_its_extra_a_trace_is_refused_in_one_line(tmp_path: Path) -> None:
    write_job(tmp_path, [{"prompt": "a"}])
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").touch()
    path = os.pathsep.join([str(tmp_path), *sys.path])
    result = subprocess.run(
        [sys.executable, "-m", "mwalimu", "generate", "distill.yaml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 10
    assert result.stderr == (
        "error: OTEL_EXPORTER_OTLP_ENDPOINT: opentelemetry.exporter is not installed; "
        "pip install 'mwalimu[otel]', or unset it\n"
    )


@pytest.mark.parametrize("file", ["nowhere/log", "nowhere/metrics"])
def test_what_cannot_be_written_is_told_before_anything(tmp_path: Path, file: str) -> None:
    write_job(tmp_path, [{"prompt": "a"}])
    option = f"--{Path(file).name}"
    result = mwalimu(option, file, "generate", "distill.yaml", cwd=tmp_path)
    assert result.returncode == 2 and result.stderr.count("\n") == 1, result.stderr
    assert "nowhere" in result.stderr and not (tmp_path / "runs").exists()


def test_a_log_on_a_full_disk_stops_no_run(tmp_path: Path) -> None:
    write_job(tmp_path, [{"prompt": "a"}])
    result = mwalimu("--log", "/dev/full", "generate", "distill.yaml", cwd=tmp_path)
    assert result.returncode == 0
    assert result.stderr.count("the log cannot be written") == 1


def test_what_is_off_is_not_loaded(tmp_path: Path) -> None:
    """Neither by the help nor by a whole stage."""
    write_job(tmp_path, [{"prompt": "a"}])
    script = (
        "import sys\nfrom mwalimu.cli import main\n"
        "sys.argv = ['mwalimu', *sys.argv[1:]]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "off = ('logging.config', 'opentelemetry', 'prometheus_client', 'mwalimu.telemetry.asgi',"
        " 'mwalimu.synthesis.observing')\n"
        "print('loaded:', *(name for name in off if name in sys.modules))\n"
    )
    for arguments in (["--help"], ["generate", "distill.yaml"]):
        result = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=True,
        )
        assert result.stdout.splitlines()[-1].strip() == "loaded:", arguments
