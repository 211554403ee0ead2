"""A run in an object store: S3 as moto's server speaks it, in this process."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mwalimu.config import Config, build_config
from mwalimu.errors import MissingDependency, RunError
from mwalimu.pipeline import Pipeline
from mwalimu.run import Run
from mwalimu.scale import mirror as module
from mwalimu.scale.mirror import Mirror
from mwalimu.synthesis.frames import Cost
from mwalimu.synthesis.store import SEGMENT, AnswerStore, Stored
from tests.synthesis.teacher_server import TeacherServer

RUN, ROWS = "ab" * 16, 12


def key(number: int) -> str:
    return f"{number:064x}"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def address(
    server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[str]:
    """A folder of its own for each test."""
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdirs("bucket", exist_ok=True)
    yield f"s3://bucket/{abs(hash(request.node.name))}"
    s3fs.S3FileSystem.clear_instance_cache()


def buy(folder: Path, *numbers: int) -> None:
    with AnswerStore(folder / "answers", RUN) as store:
        for number in numbers:
            store.mark_sent([(key(number), Cost(1, 1, 5))])
            store.put([Stored(key(number), Cost(1, 1, 3), b"answer %d" % number)])


def mirror(address: str, folder: Path) -> Mirror:
    return Mirror(address, folder / "run", folder / "answers", lambda text: None)


def published(folder: Path, text: str = "row") -> Run:
    run = Run(folder / "run")
    path = run.path("generate", "train.jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    assert run.id
    run.finish("generate", "fp", [path], {"rows": 1})
    return run


def test_a_driver_elsewhere_finds_the_run_and_the_answers(address: str, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    buy(here, 1, 2)
    published(here)
    first = mirror(address, here)
    first.pull()
    first.push()
    buy(here, 3)
    first.push_answers()
    mirror(address, there).pull()
    assert Run(there / "run").require("generate") == Run(here / "run").require("generate")
    assert Run(there / "run").id == Run(here / "run").id
    segments = [(folder / "answers" / SEGMENT).read_bytes() for folder in (here, there)]
    assert segments[0] == segments[1]
    with AnswerStore(there / "answers", RUN) as store:
        assert store.get(key(3)) == b"answer 3"
        assert (store.spend().nano_usd, store.spend().requests) == (9, 3)


def test_pieces_end_with_whole_frames(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    buy(here, *range(20))
    segment = here / "answers" / SEGMENT
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-3])  # as a writer leaves it that is killed in the middle
    one = mirror(address, here)
    one.push_answers()
    segment.write_bytes(whole)
    one.push_answers()
    assert len(one._pieces()) == 2
    mirror(address, there).pull()
    assert (there / "answers" / SEGMENT).read_bytes() == whole


def test_a_torn_end_here_is_cut_before_more_is_taken(address: str, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    buy(here, 1, 2)
    one = mirror(address, here)
    one.push_answers()
    shutil.copytree(here / "answers", there / "answers")
    buy(here, 3)
    one.push_answers()
    with (there / "answers" / SEGMENT).open("ab") as handle:
        handle.write(b"S and no more")
    mirror(address, there).pull()
    assert (there / "answers" / SEGMENT).read_bytes() == (here / "answers" / SEGMENT).read_bytes()


def test_other_answers_and_another_run_are_refused(address: str, tmp_path: Path) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    buy(here, 1)
    published(here)
    mirror(address, here).push()
    buy(other, 2)
    with pytest.raises(RunError, match="holds other answers than the store here"):
        mirror(address, other).pull()
    shutil.rmtree(other)
    published(other)
    with pytest.raises(RunError, match="is the mirror of another run"):
        mirror(address, other).pull()


def test_two_drivers_at_once_are_refused(address: str, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    buy(here, 1)
    one, two = mirror(address, here), mirror(address, there)
    one.push_answers()
    two.pull()
    buy(here, 2)
    one.push_answers()
    buy(there, 3)
    with pytest.raises(RunError, match="let one driver at a time use it"):
        two.push_answers()


def test_a_spoilt_file_is_not_taken(address: str, tmp_path: Path) -> None:
    published(tmp_path / "here")
    one = mirror(address, tmp_path / "here")
    one.push()
    one.objects.write("run/generate/train.jsonl", b"spoilt")
    with pytest.raises(RunError, match="is not what its manifest says"):
        mirror(address, tmp_path / "there").pull()
    assert not (tmp_path / "there/run/run.json").exists()


def test_only_what_changed_is_sent_again(address: str, tmp_path: Path) -> None:
    published(tmp_path / "here")
    one = mirror(address, tmp_path / "here")
    one.push()
    one.objects.write("run/generate/train.jsonl", b"as it was sent")
    one.push()
    assert one.objects.read("run/generate/train.jsonl") == b"as it was sent"
    published(tmp_path / "here", "other rows")
    one.push()
    assert one.objects.read("run/generate/train.jsonl") == b"other rows"


def test_answers_follow_while_they_come_and_trouble_is_only_told(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.001)
    said: list[str] = []
    one = Mirror(address, tmp_path / "run", tmp_path / "answers", said.append)
    real, failed = one.objects.sizes, []

    def sizes(below: str) -> dict[str, int]:
        if not failed:
            failed.append(below)
            raise RunError("cannot be used (away)")
        return real(below)

    monkeypatch.setattr(one.objects, "sizes", sizes)
    buy(tmp_path, 1)
    with pytest.raises(KeyboardInterrupt), one.following():
        while not said or not one._pieces():
            pass
        raise KeyboardInterrupt
    assert said == ["the mirror lags: cannot be used (away)"]


def config(folder: Path, url: str, address: str) -> Config:
    folder.mkdir(parents=True, exist_ok=True)
    prompts = "".join(f'{{"id": "r{i}", "prompt": "q{i}"}}\n' for i in range(ROWS))
    (folder / "p.jsonl").write_text(prompts, encoding="utf-8")
    raw: dict[str, Any] = {
        "task": "generic",
        "data": {"train": "p.jsonl"},
        "teacher": {"model": "tiny", "base_url": url},
        "student": {"model": "none"},
        "finetune": {"objective": "cross_entropy"},
        "scale": {"mirror": address},
    }
    return build_config(raw, base=folder)


def test_stage_1_goes_on_elsewhere_without_asking_again(address: str, tmp_path: Path) -> None:
    with TeacherServer() as teacher:
        for name in ("here", "there"):
            folder = tmp_path / name
            job = config(folder, teacher.url, address)
            pipeline = Pipeline(job, folder / "run", store=folder / "answers")
            pipeline.generate()
        assert set(teacher.asked.values()) == {1}
    rows = [(tmp_path / n / "run/generate/train.jsonl").read_bytes() for n in ("here", "there")]
    assert rows[0] == rows[1] and rows[0].count(b"\n") == ROWS


def test_an_address_that_cannot_be_used_is_one_line(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RunError, match=r"s3://no-such-bucket/x: cannot be used"):
        buy(tmp_path, 1)
        mirror("s3://no-such-bucket/x", tmp_path).push()
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingDependency, match=r"pip install 'mwalimu\[objects\]'"):
        mirror(address, tmp_path)
