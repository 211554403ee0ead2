"""What trains, what is evaluated and what is served are the same ids, whatever a user writes."""

import asyncio
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from mwalimu.data.record import Message, Record
from mwalimu.data.tokenize import encode_example
from mwalimu.evaluation.generate import load_answerer
from mwalimu.serving.answering import Answering
from mwalimu.serving.chat_request import ChatRequest
from mwalimu.serving.metrics import Metrics
from mwalimu.serving.opening import open_served
from mwalimu.serving.pending import Bridge
from mwalimu.serving.scheduler import Engine
from mwalimu.serving.settings import Settings
from tests.figures import record
from tests.tiny import SPECIAL, make_tiny_model, make_tokenizer

CONVERSATIONS = 1000 if os.environ.get("MWALIMU_LONG") else 200
PIECES = (
    *SPECIAL,
    "<unk>",
    "\ue0fe0\ue0ff",
    "\\ue0fe",
    "hello ",
    " ",
    "\n",
    "é",
    "東",
    "{{ x }}",
    "a",
)


def conversation(chance: random.Random) -> list[dict[str, str]]:
    def text() -> str:
        return "x" + "".join(chance.choices(PIECES, k=chance.randint(1, 12)))

    turns = [{"role": "system", "content": text()}] if chance.random() < 0.3 else []
    for _ in range(chance.randint(0, 2)):
        turns += [{"role": "user", "content": text()}, {"role": "assistant", "content": text()}]
    return [*turns, {"role": "user", "content": text()}]


@pytest.mark.parametrize("template", ["own", "fallback"])
def test_train_evaluation_and_server_agree(tmp_path: Path, template: str) -> None:
    tokenizer = make_tokenizer() if template == "own" else make_tokenizer(None)
    folder = make_tiny_model(tmp_path / "tiny", tokenizer=tokenizer)
    answerer = load_answerer(folder, max_tokens=8, trust_remote_code=False)
    served = open_served(folder, "tiny")
    engine = Engine(lambda: None, served.decoding, served.ends, queue=1, metrics=Metrics())  # type: ignore[arg-type, return-value]
    engine.context = 1 << 20
    loop = asyncio.new_event_loop()
    answering = Answering(engine, served.encoding, Settings("tiny"), None)
    chance = random.Random(0)
    for _ in range(CONVERSATIONS):
        messages = conversation(chance)
        body: Any = json.loads(json.dumps({"model": "tiny", "messages": messages}))
        asked = answering._understood(ChatRequest.model_validate(body), Bridge(loop)).jobs[0].ids
        turns = tuple(Message(**turn) for turn in messages)  # type: ignore[arg-type]
        assert answerer.encode([Record("r", "generic", turns)]) == [asked]
        answer = {"role": "assistant", "content": "yes"}
        trained = encode_example(answerer.tokenizer, [*messages, answer], max_length=1 << 20)
        assert trained.ids[: trained.labels_mask.index(True)] == asked
    assert served.ends == answerer.ends
    record("R14", f"{template} template", tried=CONVERSATIONS, seed=0)
    answering.close()
    loop.close()
