"""One training in a process of its own; its last line is JSON of what it took. See memory.py."""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import logging
import os
import random
import re
import tempfile
import warnings
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
warnings.simplefilter("ignore")

import torch  # noqa: E402
from memory_cases import CASES, Case, tiny_of  # noqa: E402
from tokenizers import Regex, Tokenizer, models, pre_tokenizers  # noqa: E402
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast  # noqa: E402

from mwalimu.config import FinetuneConfig, StudentConfig  # noqa: E402
from mwalimu.data.loading import load_tokenizer  # noqa: E402
from mwalimu.finetune.finetune import train_student  # noqa: E402
from mwalimu.finetune.teacher.view import TeacherView  # noqa: E402
from mwalimu.finetune.teacher.white_box import WhiteBox  # noqa: E402
from mwalimu.objectives.targets import SparseTarget  # noqa: E402

SPECIAL = ("<pad>", "<s>", "<|end|>", "<|user|>", "<|assistant|>", "<unk>")
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
AROUND = 4  # tokens of a row that the template writes, of which the last is learned
STEPS, BEST = 3, 50


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--case", choices=CASES, required=True)
    case = CASES[parser.parse_args().case]
    logging.disable()
    if case.autocast:
        force_autocast()
    with tempfile.TemporaryDirectory() as name:
        run(tiny_of(case), Path(name, "tiny"))  # code is loaded, and kernels are made
        peak = Peak()
        run(case, Path(name, "case"))
    print(json.dumps({"peak": peak.size(), "libraries": peak.before}))


class Peak:
    """Bytes that a training takes at most beyond what is there before: on CUDA of the allocator,
    else of the process."""

    def __init__(self) -> None:
        gc.collect()
        self.cuda = torch.cuda.is_available()
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            self.before = torch.cuda.memory_allocated()
        else:
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")  # begins the high-water mark anew
            self.before = resident("VmRSS")

    def size(self) -> int:
        peak = torch.cuda.max_memory_allocated() if self.cuda else resident("VmHWM")
        return peak - self.before


def resident(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def run(case: Case, folder: Path) -> None:
    write_model(case.shape, folder / "student", case.words)
    require_length(case, folder / "student")
    finetune = FinetuneConfig.model_validate({"epochs": 1, **case.finetune})
    train_student(
        StudentConfig(model=str(folder / "student"), **case.student),
        finetune,
        rows(case, STEPS * finetune.batch_size * finetune.accumulation),
        rows(case, finetune.batch_size) if case.validates else None,
        folder,
        seed=0,
        stage_fingerprint="memory",
        on_progress=lambda *_: None,
        white_box=teacher(case, folder),
    )


def write_model(shape: dict[str, Any], folder: Path, words: int) -> None:
    """A config and a tokenizer; the weights are drawn at the start."""
    sizes = {key: value for key, value in shape.items() if key != "model_type"}
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = AutoConfig.for_model(shape["model_type"], max_position_embeddings=4096, **sizes, **ids)
    config.save_pretrained(folder)
    vocabulary = [*SPECIAL, *letters(words)]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(vocabulary)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="<|end|>",
        unk_token="<unk>",
        additional_special_tokens=["<|user|>", "<|assistant|>"],
        chat_template=TEMPLATE,
    ).save_pretrained(folder)


def letters(count: int) -> list[str]:
    """A token each. Digits first, which the tokenizers of all families take one by one."""
    return [str(i) for i in range(10)] + [chr(0x4E00 + i) for i in range(count - 10)]


def rows(case: Case, count: int) -> list[dict[str, Any]]:
    rng = random.Random(count)
    alphabet = letters(case.words)

    def text(tokens: int) -> str:
        return "".join(rng.choices(alphabet, k=tokens))

    def row(number: int) -> dict[str, Any]:
        length = (
            rng.randint(case.shortest, case.length) if case.shortest and number else case.length
        )
        targets = length * case.targets // case.length
        messages = [
            {"role": "user", "content": text(length - targets - AROUND + 1)},
            {"role": "assistant", "content": text(targets - 1)},
        ]
        return {"id": str(number), "task": "generic", "messages": messages}

    return [row(number) for number in range(count)]


def require_length(case: Case, folder: Path) -> None:
    """A measurement of other rows than it says would be worth nothing."""
    tokenizer = load_tokenizer(str(folder))
    said = tokenizer.apply_chat_template(rows(case, 1)[0]["messages"], tokenize=False)
    found = len(tokenizer.encode(said, add_special_tokens=False))
    assert found == case.length, f"a row has {found} tokens and not {case.length}"


class Cached:
    """The best tokens of a teacher, as a cache gives them."""

    hidden_size = 0
    waits = False

    def source(self, *_: Any, **__: Any) -> Cached:
        return self

    def ahead(self, batch: Any) -> TeacherView:
        return self.look(batch)

    def look(self, batch: Any) -> TeacherView:
        ids_NK = torch.arange(BEST).repeat(len(batch.labels_N), 1)
        logp_NK = torch.full((len(batch.labels_N), BEST), 1 / (2 * BEST)).log()
        return TeacherView(SparseTarget(ids_NK, logp_NK, torch.full(ids_NK.shape[:1], 0.5).log()))

    def close(self) -> None: ...


def teacher(case: Case, folder: Path) -> Any:
    if case.teacher != "live":
        return Cached() if case.teacher else None
    write_model(case.shape, folder / "teacher", case.words)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder / "teacher"))
    model.save_pretrained(folder / "teacher")
    return WhiteBox(live=str(folder / "teacher"))


def force_autocast() -> None:
    """As on CUDA, where it is the automatic choice."""
    from mwalimu.finetune import finetune, task
    from mwalimu.finetune.student import loading, publishing

    for module in (finetune, task, loading, publishing):
        if hasattr(module, "autocast_wanted"):
            module.autocast_wanted = lambda _: True  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
