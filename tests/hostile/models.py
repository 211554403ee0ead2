"""Model folders that would run something, read something or take all memory, if one let them.

Each changes a good folder. CANARY in a text becomes a file that code in the folder would make.
"""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

CANARY = "CANARY"
Change = Callable[[Path, str], None]


class Payload:
    """What a pickle runs when it is opened."""

    def __init__(self, canary: str) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"open({self.canary!r}, 'w').close()",)


def edited(name: str, **changes: Any) -> Change:
    """Keys of a JSON file; None takes one away."""

    def change(folder: Path, canary: str) -> None:
        path = folder / name
        found = json.loads(path.read_bytes()) if path.exists() else {}
        found |= changes
        text = json.dumps({key: value for key, value in found.items() if value is not None})
        path.write_text(text.replace(CANARY, canary))

    return change


def written(name: str, data: bytes) -> Change:
    def change(folder: Path, canary: str) -> None:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data.replace(CANARY.encode(), canary.encode()))

    return change


def pickled(name: str, *, instead: str = "") -> Change:
    """A pickle under that name, in place of another file."""

    def change(folder: Path, canary: str) -> None:
        if instead:
            (folder / instead).unlink()
        (folder / name).write_bytes(pickle.dumps(Payload(canary)))

    return change


def torch_pickled(name: str) -> Change:
    """As torch.save writes it, in place of the safetensors."""

    def change(folder: Path, canary: str) -> None:
        import torch

        (folder / WEIGHTS).unlink()
        torch.save({"model.norm.weight": Payload(canary)}, folder / name)

    return change


def both(*changes: Change) -> Change:
    def change(folder: Path, canary: str) -> None:
        for one in changes:
            one(folder, canary)

    return change


def header(text: bytes | dict[str, Any], *, length: int | None = None) -> Change:
    """A safetensors file of that header."""
    raw = text if isinstance(text, bytes) else json.dumps(text).encode()
    size = struct.pack("<Q", len(raw) if length is None else length)
    return written(WEIGHTS, size + raw + bytes(64))


def weights_of_another(folder: Path, canary: str) -> None:
    """A good file, of a tensor that the model has not."""
    import torch
    from safetensors.torch import save_file

    save_file({"another.weight": torch.zeros(4)}, folder / WEIGHTS, metadata={"format": "pt"})


def linked(name: str, target: str) -> Change:
    def change(folder: Path, canary: str) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return change


def cut(name: str, size: int) -> Change:
    def change(folder: Path, canary: str) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[:size])

    return change


WEIGHTS, TEMPLATE = "model.safetensors", "chat_template.jinja"
CODE = b"open('CANARY', 'w').close()\n"
EVIL = written("evil.py", CODE + b"class Evil: pass\n")
MODEL_MAP = {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"}
TENSOR = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
POPEN = b"{{ cycler.__init__.__globals__.os.system('touch CANARY') }}"
CLASSES = b"{{ ''.__class__.__mro__[1].__subclasses__() }}"

REFUSED: dict[str, Change] = {
    "torch pickle as weights": torch_pickled("pytorch_model.bin"),
    "bare pickle as weights": pickled("pytorch_model.bin", instead=WEIGHTS),
    "pickle under the name of safetensors": pickled(WEIGHTS),
    "index of pickles": both(
        pickled("part.bin", instead=WEIGHTS),
        edited("pytorch_model.bin.index.json", weight_map={"model.norm.weight": "part.bin"}),
    ),
    "code of an unknown model": both(
        EVIL, edited("config.json", model_type="evil", architectures=["Evil"], auto_map=MODEL_MAP)
    ),
    "code of a hub": edited(
        "config.json", model_type="evil", auto_map={"AutoConfig": "someone/evil--evil.Evil"}
    ),
    "unknown model": edited("config.json", model_type="no-such-model"),
    "no type": edited("config.json", model_type=None, architectures=None),
    "config that is a list": written("config.json", b"[]"),
    "config that is no JSON": written("config.json", b"{"),
    "config nested too deep": written("config.json", b'{"a":' * 5000 + b"1" + b"}" * 5000),
    "no heads": edited("config.json", num_attention_heads=0),
    "sizes that are text": edited("config.json", hidden_size="; touch CANARY"),
    "sizes beyond all memory": edited("config.json", hidden_size=1 << 40),
    "vocabulary beyond all memory": edited("config.json", vocab_size=1 << 50),
    "numbers of another kind": edited("config.json", dtype="os.system('touch CANARY')"),
    "attention of a hub": edited("config.json", attn_implementation="someone/evil-kernel"),
    "index that leaves the folder": both(
        lambda folder, canary: (folder / WEIGHTS).unlink(),
        edited(
            "model.safetensors.index.json",
            metadata={},
            weight_map={"model.norm.weight": "../../../../../../etc/passwd"},
        ),
    ),
    "weights linked elsewhere": linked(WEIGHTS, "/etc/passwd"),
    "weights without end": linked(WEIGHTS, WEIGHTS),
    "no bytes": written(WEIGHTS, b""),
    "torn weights": cut(WEIGHTS, 5000),
    "header longer than the file": header({"a": TENSOR}, length=1 << 40),
    "header of all bits": header({"a": TENSOR}, length=(1 << 64) - 1),
    "header that is no JSON": header(b"{" * 200),
    "header of another kind": header(b"[1, 2, 3]"),
    "shape beyond all memory": header({"a": TENSOR | {"shape": [1 << 40, 1 << 20]}}),
    "offsets behind the end": header({"a": TENSOR | {"data_offsets": [0, 1 << 50]}}),
    "offsets that overlap": header({"a": TENSOR, "b": TENSOR}),
    "offsets that run back": header({"a": TENSOR | {"data_offsets": [16, 0]}}),
    "unknown numbers": header({"a": TENSOR | {"dtype": "PICKLE"}}),
    "weights of another model": weights_of_another,
    "tokenizer that is no JSON": written("tokenizer.json", b"\x80\x04."),
    "tokenizer of an unknown kind": written("tokenizer.json", b'{"model": {"type": "Evil"}}'),
    "torn tokenizer": cut("tokenizer.json", 500),
    "template that runs a command": written(TEMPLATE, POPEN),
    "template that climbs to all classes": written(TEMPLATE, CLASSES),
    "template that reads a file": written(TEMPLATE, b"{% include '/etc/passwd' %}"),
    "template that imports": written(TEMPLATE, b"{% import 'os' as os %}{{ os.system('') }}"),
    "template that calls itself": written(
        TEMPLATE, b"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"
    ),
    "template of a long range": written(TEMPLATE, b"{% for i in range(10 ** 9) %}x{% endfor %}"),
    "template of loops within loops": written(
        TEMPLATE, b"{% for i in range(99999) %}" * 4 + b"x" + b"{% endfor %}" * 4
    ),
    "template that calls itself twice": written(
        TEMPLATE,
        b"{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}"
        b"{{ m(60) }}",
    ),
    "template of a recursive loop": written(
        TEMPLATE,
        b"{% set ns = namespace(a=[]) %}{% for i in range(9) recursive %}"
        b"{% if loop.depth < 40 %}{{ loop(range(9)) }}{% endif %}{% endfor %}",
    ),
    "template that doubles a text": written(
        TEMPLATE,
        b"{% set n = namespace(s='x') %}{% for i in range(99) %}"
        b"{% set n.s = n.s * 2 %}{% endfor %}{{ n.s }}",
    ),
    "template of a tower of powers": written(TEMPLATE, b"{{ 9 ** 9 ** 9 }}"),
    "template of a long text": written(TEMPLATE, b"{{ 'x' * 10 ** 12 }}"),
    "template that pads": written(TEMPLATE, b"{{ 'x'.ljust(10 ** 12) }}"),
    "template that centres": written(TEMPLATE, b"{{ 'x' | center(10 ** 12) }}"),
    "template of endless Latin": written(TEMPLATE, b"{{ lipsum(10 ** 9) }}"),
    "template that takes its bounds away": written(
        TEMPLATE, b"{% set step = 1 %}" + b"{% for i in range(99999) %}" * 3 + b"{% endfor %}" * 3
    ),
    "template that changes what it is given": written(TEMPLATE, b"{{ messages.append(1) }}"),
    "torn template": written(TEMPLATE, b"{% for m in messages %}"),
}
"""Each is refused in one line."""

HARMLESS: dict[str, Change] = {
    "code beside a known model": both(EVIL, edited("config.json", auto_map=MODEL_MAP)),
    "code of a tokenizer": both(
        EVIL, edited("tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Evil", None]})
    ),
    "code of generation": written("custom_generate/generate.py", CODE),
    "pickles beside the weights": both(
        pickled("training_args.bin"), pickled("optimizer.pt"), pickled("pytorch_model.bin")
    ),
    "an unknown quantiser": edited("config.json", quantization_config={"quant_method": "evil"}),
    "a name elsewhere": edited("config.json", _name_or_path="someone/evil"),
    "a setup file": written("setup.py", CODE),
    "a conftest": written("conftest.py", CODE),
    "a package of the same name": written("torch/__init__.py", CODE),
}
"""Each is loaded, and what it brought is left alone."""
