"""A run's stages as lines and spans, however they end."""

from __future__ import annotations

from pathlib import Path

import pytest

from mwalimu.errors import DataError
from mwalimu.pipeline.observing import stage, watched
from mwalimu.run import Run
from mwalimu.telemetry import tracing
from tests.telemetry.collector import collector
from tests.telemetry.test_run import OTEL
from tests.telemetry.watching import lines
from tests.telemetry.watching import watched as everything


class Job:
    def __init__(self, folder: Path) -> None:
        self.run = Run(folder)

    @stage("generate")
    def generate(self, number: int, *, error: BaseException | None = None) -> int:
        if error is not None:
            raise error
        return number + 1


@pytest.mark.parametrize(
    ("error", "status", "level"),
    [
        (None, "done", "INFO"),
        (DataError("what a row says"), "failed", "ERROR"),
        (KeyboardInterrupt(), "stopped", "WARNING"),
    ],
)
def test_a_stage_is_told_however_it_ends(
    tmp_path: Path, error: BaseException | None, status: str, level: str
) -> None:
    log = tmp_path / "log"
    job = Job(tmp_path / "run")
    with everything(log):
        if error is None:
            assert job.generate(1) == 2
        else:
            with pytest.raises(type(error)):
                job.generate(1, error=error)
    (begun,), (ended,) = lines(log, "stage begins"), lines(log, "stage ended")
    assert begun["run"] == ended["run"] == job.run.id and begun["stage"] == "generate"
    assert (ended["status"], ended["level"]) == (status, level)
    assert ended.get("error") == (None if error is None else type(error).__name__)
    assert ended["latency_s"] >= 0 and "what a row says" not in log.read_text()


def test_where_nobody_watches_nothing_is_written(tmp_path: Path) -> None:
    assert Job(tmp_path / "run").generate(1) == 2
    assert not list(tmp_path.iterdir())


def test_the_first_of_several_processes_names_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one has no business in its manifest."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with everything(tmp_path / "log"):
        Job(tmp_path / "run").generate(1)
    assert not (tmp_path / "run").exists()
    assert "run" not in lines(tmp_path / "log", "stage begins")[0]


def test_stages_are_inside_of_their_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(OTEL)
    job = Job(tmp_path / "run")
    with collector() as found:
        monkeypatch.setenv(tracing.ENDPOINTS[0], found.url)
        with everything(tmp_path / "log"), watched(job.run):
            job.generate(1)
            with pytest.raises(DataError):
                job.generate(1, error=DataError("no"))
    spans = {span.name: span for span in found.spans()}
    assert spans.keys() == {"run", "generate"}
    of_run = [span for span in found.spans() if span.name == "generate"]
    assert {span.parent for span in of_run} == {spans["run"].id} and not spans["run"].parent
    assert [span.failed for span in of_run] == [False, True]
    assert of_run[1].attributes["error.type"] == "DataError"
    (begun,) = lines(tmp_path / "log", "run begins")
    assert begun["span"] == spans["run"].id and "stage" not in begun
