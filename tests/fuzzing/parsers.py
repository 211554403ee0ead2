"""Every reader of bytes from outside, with what is good for it and what it may raise."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mwalimu.config import load_config
from mwalimu.data.formats.source import open_source
from mwalimu.errors import MwalimuError
from mwalimu.jobs.client import transport
from mwalimu.jobs.client.streams import EventPlace
from mwalimu.quickstart.job import job_config
from mwalimu.run import Run
from mwalimu.signals.checks import inspect, verify
from mwalimu.signals.manifest import read_manifest
from mwalimu.signals.shard import Shard, shard_name
from mwalimu.synthesis.frames import ANSWER, SENT, Cost, pack, read_frames
from mwalimu.teachers.anthropic_messages import AnthropicMessages
from mwalimu.teachers.openai_chat import OpenAIChat
from mwalimu.teachers.status import read_error
from tests.signals.cases import ENCODINGS, rows_for, write

GOLDEN = Path(__file__).parents[1] / "teachers" / "golden"


@dataclass(frozen=True, slots=True)
class Parser:
    """`read` takes bytes and a folder of its own. `raises`: what its callers are ready for.

    `share` of all executions: a slow one gets less."""

    read: Callable[[bytes, Path], object]
    corpus: Callable[[Path], Sequence[bytes]]
    raises: tuple[type[Exception], ...] = (MwalimuError,)
    share: float = 1.0


def _rows(data: bytes, folder: Path) -> object:
    path = folder / "rows.jsonl"
    path.write_bytes(data)
    return list(open_source(path).records())


def _document(data: bytes, folder: Path) -> object:
    path = folder / "rows.json"
    path.write_bytes(data)
    return list(open_source(path).records())


def _documents(_: Path) -> list[bytes]:
    asked = {"id": "1", "question": "w?", "answers": [{"text": "b", "answer_start": 2}]}
    paragraph = {"context": "a b", "qas": [asked, asked | {"id": "2", "is_impossible": True}]}
    squad = {"version": "2.0", "data": [{"title": "t", "paragraphs": [paragraph]}]}
    chats = [{"conversations": [{"from": "human", "value": "a"}]}]
    return [json.dumps(one, indent=at).encode() for one in (squad, chats) for at in (None, 1)]


def _rows_corpus(_: Path) -> list[bytes]:
    rows: list[dict[str, Any]] = [
        {"id": "a", "messages": [{"role": "user", "content": "hi"}]},
        {"prompt": "2 + 2", "completion": "4"},
        {"input": "x", "output": "y", "task": "qa"},
        {"instruction": "say", "input": "", "output": "it"},
        {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
        {"messages": [{"role": "user", "content": "w"}], "tools": [{"type": "function"}]},
        {"schemaVersion": "bedrock-conversation-2024", "messages": []},
        {"custom_id": "1", "response": {"status_code": 200, "body": {"choices": []}}},
        {"premise": "a", "hypothesis": "b", "label": 1},
        {"sentence1": "a", "sentence2": "b", "gold_label": "-", "pairID": "1"},
        {"context": "a b", "question": "w?", "answers": {"text": ["b"], "answer_start": [2]}},
        {"question": "1 + 1?", "answer": "<<1+1=2>>\n#### 2"},
        {"article": "a", "highlights": "b", "id": "1"},
    ]
    lines = [json.dumps(row).encode() for row in rows]
    return [*lines, b"\n".join(lines), b'{"prompt": "caf\\u00e9"}\r\n\r\n']


def _config(data: bytes, folder: Path) -> object:
    path = folder / "distill.yaml"
    path.write_bytes(data)
    return load_config(path)


def _config_corpus(_: Path) -> list[bytes]:
    job = job_config(0)
    small = {name: job[name] for name in ("task", "data", "teacher", "student")}
    return [yaml.safe_dump(one).encode() for one in (job, small)]


def _answer(wire: Any) -> Callable[[bytes, Path], object]:
    from mwalimu.config import TeacherConfig

    config = TeacherConfig(model="some-model", base_url="http://127.0.0.1:1/v1")

    def read(data: bytes, _: Path) -> object:
        read_error(data)
        wire.model_names(data)
        return wire.parse(data, config) if wire.is_answer(data) else None

    return read


def _answers_of(name: str) -> Callable[[Path], list[bytes]]:
    def corpus(_: Path) -> list[bytes]:
        found = sorted((GOLDEN / name).rglob("*.json"))
        cases = [json.loads(path.read_bytes()) for path in found]
        return [json.dumps(case["answers"]).encode() for case in cases]

    return corpus


def _events(data: bytes, _: Path) -> object:
    place, cut = EventPlace("job", 0), len(data) // 2
    return [*transport.taken(place, data[:cut]), *transport.taken(place, data[cut:])]


def _events_corpus(_: Path) -> list[bytes]:
    data = {"number": 3, "job": "j", "kind": "state", "data": {"state": "Running"}, "time": 1.0}
    event = b"id: 3\nevent: state\ndata: " + json.dumps(data).encode() + b"\n\n"
    return [event, b": keep-alive\n\n" + event, event.replace(b"\n", b"\r\n")]


def _frames(data: bytes, _: Path) -> object:
    return [*read_frames(data), *read_frames(data, search=True)]


def _frames_corpus(_: Path) -> list[bytes]:
    key, run = b"k" * 32, b"r" * 16
    frames = [
        pack(SENT, key, run, Cost(5, 100, 7), b""),
        pack(ANSWER, key, run, Cost(5, 9, None), b'{"choices": []}'),
    ]
    return [*frames, b"".join(frames * 3)]


def _run(data: bytes, folder: Path) -> object:
    (folder / "run.json").write_bytes(data)
    run = Run(folder)
    return [run.stage(name) for name in ("generate", "finetune")]


def _run_corpus(folder: Path) -> list[bytes]:
    run = Run(folder / "made")
    run.describe(config={"task": "qa"}, seed=0)
    path = run.path("generate", "train.jsonl")
    path.parent.mkdir()
    path.write_bytes(b"{}\n")
    run.finish("generate", "f", [path], {"rows": 1})
    return [run.path("run.json").read_bytes()]


def _signal_manifest(data: bytes, folder: Path) -> object:
    (folder / "manifest.json").write_bytes(data)
    read_manifest(folder)
    return inspect(folder), verify(folder)


def _manifests(folder: Path) -> list[bytes]:
    return [(_written(folder, name) / "manifest.json").read_bytes() for name in ENCODINGS]


def _written(folder: Path, name: str) -> Path:
    made = folder / name
    if not made.exists():
        write(made, ENCODINGS[name], rows_for(ENCODINGS[name], (3, 4, 5)))
    return made


def _shard_of(name: str) -> Callable[[bytes, Path], object]:
    encoding = ENCODINGS[name]

    def read(data: bytes, folder: Path) -> object:
        path = folder / shard_name(0)
        path.unlink(missing_ok=True)  # the one before may still be mapped
        path.write_bytes(data)
        shard = Shard(path, encoding)
        return shard.facts(), [shard.length(row) for row in range(min(shard.rows, 64))]

    return read


def _shards_of(name: str) -> Callable[[Path], list[bytes]]:
    return lambda folder: [(_written(folder, name) / shard_name(0)).read_bytes()]


UNREADABLE = (ValueError, KeyError, TypeError, IndexError)  # as `Wire.parse` says

PARSERS = {
    "rows": Parser(_rows, _rows_corpus, share=0.5),
    "document": Parser(_document, _documents, share=0.25),
    "config": Parser(_config, _config_corpus, share=0.01),
    "openai answer": Parser(_answer(OpenAIChat()), _answers_of("openai"), UNREADABLE, 3.0),
    "anthropic answer": Parser(
        _answer(AnthropicMessages()), _answers_of("anthropic"), UNREADABLE, 3.0
    ),
    "events": Parser(_events, _events_corpus, (MwalimuError,)),
    "frames": Parser(_frames, _frames_corpus, (), 2.0),
    "run manifest": Parser(_run, _run_corpus, share=0.5),
    "signal manifest": Parser(_signal_manifest, _manifests, share=0.5),
    "shard, topk": Parser(_shard_of("topk"), _shards_of("topk"), share=0.5),
    "shard, sampled": Parser(_shard_of("sampled"), _shards_of("sampled"), share=0.5),
}
