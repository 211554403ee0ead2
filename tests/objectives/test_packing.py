"""Packed rows give the losses and gradients of rows that are alone; a model that cannot is known.

The reference is transformers itself, a row at a time, in float64.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import varlen
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from mwalimu.data.collate import Batch, collate
from mwalimu.data.layout import PADDED, split_rows
from mwalimu.data.longrope import rope_limit
from mwalimu.data.tokenize import Encoded
from mwalimu.objectives.forward import Forward
from mwalimu.objectives.fused import fused_loss
from mwalimu.objectives.packing import BLOCKS, VARLEN, Packing, packings_for
from mwalimu.objectives.parts import Part
from tests.objectives.small import assert_same_gradients, gradients, small_model, with_lora

CPU = torch.device("cpu")
LENGTHS = (2, 9, 9, 5, 23, 14, 14, 15, 60)
WINDOW = 6


def make(arch: str, window: int | None = None) -> Any:
    return small_model(arch, window=window).double()


def longrope() -> Any:
    config = AutoConfig.for_model(
        "phi3",
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        original_max_position_embeddings=12,
        initializer_range=0.3,
        pad_token_id=0,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 10_000.0,
            "short_factor": [1.0, 1.2, 1.5, 2.0],
            "long_factor": [1.0, 3.0, 9.0, 20.0],
        },
    )
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).double().eval()


MODELS = {
    "llama": lambda: make("llama"),
    "phi3": lambda: make("phi3"),
    "phi3 longrope": longrope,
    "qwen2 window": lambda: make("qwen2", WINDOW),
    "qwen3": lambda: make("qwen3"),
    "mistral window": lambda: make("mistral", WINDOW),
    "gemma2 window, soft cap": lambda: make("gemma2", WINDOW),
    "gemma3 window": lambda: make("gemma3_text", WINDOW),
    "llama lora": lambda: with_lora(make("llama")),
    "gemma2 lora": lambda: with_lora(make("gemma2", WINDOW)),
}


def rows_of(*lengths: int, seed: int = 0) -> list[Encoded]:
    draw = torch.Generator().manual_seed(seed)
    return [
        Encoded.of(
            torch.randint(3, 64, (n,), generator=draw).tolist(), [i > n // 3 for i in range(n)]
        )
        for n in lengths
    ]


def batches_of(rows: list[Encoded], forward: Forward, most: int | None = None) -> Iterator[Batch]:
    lines = split_rows([len(r.ids) for r in rows], forward.slack, most, rope_limit(forward.model))
    for line in lines:
        own = [rows[index] for index in line]
        yield collate(own, pad_id=0, device=CPU, slack=forward.slack)


def nats(logits_NV: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
    return -logits_NV.log_softmax(-1).gather(1, labels_N[:, None]).sum()


def alone(model: Any, rows: list[Encoded]) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    total = torch.zeros(())
    for row in rows:
        logits_TV = model(input_ids=torch.tensor([row.ids])).logits[0]
        at = [i for i in range(1, len(row.ids)) if row.labels_mask[i]]
        labels = torch.tensor([row.ids[i] for i in at])
        total = total + nats(logits_TV[[i - 1 for i in at]], labels)
    total.backward()
    return float(total.detach()), gradients(model)


def packed(
    forward: Forward, rows: list[Encoded], most: int | None = None
) -> tuple[float, dict[str, torch.Tensor]]:
    forward.model.zero_grad()
    total = torch.zeros(())
    for batch in batches_of(rows, forward, most):
        states = forward(batch.ids_BT, batch.positions_N, batch.layout)
        parts = [Part("cross_entropy")]
        total = total + fused_loss(states.hidden_NX, states.head, batch.labels_N, None, parts)[0]
    total.backward()
    return float(total.detach()), gradients(forward.model)


@pytest.mark.parametrize("name", MODELS)
def test_losses_and_gradients_are_those_of_rows_alone(name: str) -> None:
    model, rows = MODELS[name](), rows_of(*LENGTHS)
    expected = alone(model, rows)
    forward = Forward(model, packings=[BLOCKS])
    assert forward.why_padded == "" and forward.slack == BLOCKS.slack
    for most in (None, 40):
        found = packed(forward, rows, most)
        assert found[0] == pytest.approx(expected[0], rel=1e-6)
        # Eager attention takes its softmax in float32.
        assert_same_gradients(found[1], expected[1], 3e-6)


def test_the_rows_above_lie_in_several_blocks_with_and_without_padding() -> None:
    """Else the tests here would show little."""
    batch = next(batches_of(rows_of(*LENGTHS), Forward(make("llama"), packings=[BLOCKS])))
    blocks = batch.layout.blocks
    assert len(blocks) > 2 and max(block.rows for block in blocks) > 1
    assert {block.padding > 0 for block in blocks} == {True, False}


def by_rows(
    query_PAD: torch.Tensor,
    key_PGD: torch.Tensor,
    value_PGD: torch.Tensor,
    starts: torch.Tensor,
    starts_of_keys: torch.Tensor,
    longest: int,
    longest_of_keys: int,
    *,
    scale: float | None,
    window_size: tuple[int, int],
    enable_gqa: bool,
) -> torch.Tensor:
    """What `varlen_attn` computes, by its documentation; the kernel itself needs CUDA."""
    assert starts is starts_of_keys and enable_gqa
    assert starts.dtype == torch.int32 and longest == longest_of_keys == int(starts.diff().max())
    left, right = window_size
    assert right == 0
    outputs = []
    for start, end in zip(starts.tolist(), starts.tolist()[1:], strict=False):
        places = torch.arange(end - start)
        back = places[:, None] - places
        seen = (back >= 0) & ((back <= left) | (left < 0))
        row = (x[start:end].transpose(0, 1) for x in (query_PAD, key_PGD, value_PGD))
        output = scaled_dot_product_attention(
            *row, attn_mask=seen, scale=scale, enable_gqa=enable_gqa
        )
        outputs.append(output.transpose(0, 1))
    return torch.cat(outputs)


@pytest.mark.parametrize("name", ["llama", "qwen2 window", "phi3 longrope", "mistral window"])
def test_the_kernel_for_varying_lengths_is_asked_rightly(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(varlen, "varlen_attn", by_rows)
    model, rows = MODELS[name](), rows_of(*LENGTHS)
    expected = alone(model, rows)
    forward = Forward(model, packings=[VARLEN, BLOCKS])
    assert forward.slack == VARLEN.slack == 0
    found = packed(forward, rows)
    assert found[0] == pytest.approx(expected[0], rel=1e-9)
    assert_same_gradients(found[1], expected[1], 1e-9)


def test_what_that_kernel_lacks_is_packed_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(varlen, "varlen_attn", by_rows)
    assert Forward(make("gemma2"), packings=[VARLEN, BLOCKS]).slack == BLOCKS.slack
    monkeypatch.setattr(varlen, "varlen_attn", None)
    assert Forward(make("llama"), packings=[VARLEN, BLOCKS]).slack == BLOCKS.slack


def test_where_each_way_is_open() -> None:
    assert packings_for(CPU) == (BLOCKS,) and packings_for(CPU, compiled=True) == ()
    cuda = torch.device("cuda")
    assert packings_for(cuda) == (VARLEN, BLOCKS) and packings_for(cuda, compiled=True) == (VARLEN,)


def ignores_layouts(asked: Any, layout: Any) -> torch.Tensor:
    """Causal over the whole line."""
    query, key, value = asked.query_BATD, asked.key_BGTD, asked.value_BGTD
    return asked.run(query, key, value, None)[0].flatten(0, 1)


def whispers(asked: Any, layout: Any) -> torch.Tensor:
    """A row's first token hears a ten thousandth of its neighbour's last."""
    own_PAD = BLOCKS.attend(asked, layout)
    return own_PAD + 1e-4 * own_PAD.roll(1, 0)


@pytest.mark.parametrize(
    ("attend", "why"),
    [
        (ignores_layouts, "packed rows are not what they are alone"),
        (whispers, "packed rows see each other"),
    ],
)
def test_rows_that_see_each_other_are_found_out(attend: Any, why: str) -> None:
    model, leaky = small_model("llama"), Packing("leaky", attend, 0)
    forward = Forward(model, packings=[leaky])
    assert forward.slack == PADDED
    assert forward.why_padded == f"LlamaForCausalLM takes no packed rows: {why}"
    assert model.config._attn_implementation == "sdpa"
    assert Forward(model, packings=[leaky, BLOCKS]).slack == BLOCKS.slack


@pytest.mark.parametrize(
    ("arch", "why"),
    [
        ("bloom", "BloomForCausalLM takes no packed rows: "),
        ("stablelm", "StableLmForCausalLM takes no packed rows: "),
        ("llama4_text", "it has layers of chunked_attention"),
    ],
)
def test_models_that_are_padded_say_why_and_stay_as_they_are(arch: str, why: str) -> None:
    config = AutoConfig.for_model(arch, hidden_size=32, vocab_size=64, num_hidden_layers=4)
    for name, value in {"num_attention_heads": 4, "n_head": 4, "num_key_value_heads": 4}.items():
        setattr(config, name, value)
    config.intermediate_size = 48
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    model = model.to_empty(device="cpu")
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    before = model.config._attn_implementation
    forward = Forward(model, packings=[BLOCKS])
    assert forward.why_padded.startswith(why) and forward.slack == PADDED
    assert model.config._attn_implementation == before


def test_a_window_that_attention_is_not_told_of_is_no_packing() -> None:
    model = small_model("llama")
    model.config.sliding_window = 4
    forward = Forward(model, packings=[BLOCKS])
    assert forward.why_padded.endswith("its attention is not told of its sliding window")
    model = small_model("qwen2", window=WINDOW)
    model.config.use_sliding_window = False
    assert Forward(model, packings=[BLOCKS]).why_padded == ""


def test_padded_batches_take_the_same_way_and_no_mask_is_made() -> None:
    model, rows = small_model("mistral", window=WINDOW), rows_of(3, 8, 5)
    batch = collate(rows, pad_id=0, device=CPU)
    plain = Forward(model)(batch.ids_BT, batch.positions_N).logits()
    forward = Forward(model, packings=[BLOCKS])
    found = forward(batch.ids_BT, batch.positions_N, batch.layout).logits()
    torch.testing.assert_close(found, plain)
    masks = batch.layout.masks
    assert [mask.shape for mask in masks.values()] == [(1, 1, 8, 8)]


def test_no_mask_of_a_line_is_made_however_many_rows_lie_in_it() -> None:
    model = small_model("gemma2", window=WINDOW)
    forward = Forward(model, packings=[BLOCKS])
    rows = rows_of(*([9] * 50))
    batch = next(batches_of(rows, forward))
    forward(batch.ids_BT, batch.positions_N, batch.layout)
    assert sum(mask.numel() for mask in batch.layout.masks.values()) == 2 * 9 * 9


def test_generation_and_what_is_saved_are_as_before(tmp_path: Path) -> None:
    model = small_model("qwen2", window=WINDOW)
    asked = {"input_ids": torch.arange(3, 15)[None], "max_new_tokens": 8, "do_sample": False}
    expected = model.generate(**asked)
    model.save_pretrained(tmp_path / "before")
    assert Forward(model, packings=[BLOCKS]).why_padded == ""
    assert torch.equal(model.generate(**asked), expected)
    model.save_pretrained(tmp_path / "after")
    before, after = (
        json.loads((tmp_path / name / "config.json").read_text()) for name in ("before", "after")
    )
    assert before == after
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "after")


def test_a_second_forward_of_the_same_model_packs_too() -> None:
    model, rows = make("llama"), rows_of(*LENGTHS)
    expected = alone(model, rows)
    first, second = (Forward(model, packings=[BLOCKS]) for _ in range(2))
    assert second.why_padded == ""
    for forward in (first, second):
        assert packed(forward, rows)[0] == pytest.approx(expected[0], rel=1e-9)


def test_trying_leaves_no_gradient_and_draws_nothing() -> None:
    model = small_model("llama").train()
    state = torch.get_rng_state()
    Forward(model, packings=[BLOCKS])
    assert model.training and torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert "sdpa_blocks" in ALL_ATTENTION_FUNCTIONS
