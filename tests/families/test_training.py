"""Every family goes the whole way: loaded, trained, merged, saved, asked by plain transformers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Gemma3Config, GenerationConfig

from mwalimu.config import FinetuneConfig, StudentConfig
from mwalimu.data.collate import collate
from mwalimu.data.longrope import rope_limit
from mwalimu.data.tokenize import Encoded, encode_example, encode_prompt, prepare_tokenizer
from mwalimu.evaluation.generate import Answerer
from mwalimu.finetune.finetune import train_student
from mwalimu.finetune.student import load_student
from mwalimu.finetune.teaching import Teaching
from mwalimu.objectives.forward import Forward
from tests.families.families import FAMILIES, GEMMA3_QUIRKS, LIMIT, TINY, make, tokenizer_of

# Of one length, so that batches hold both.
ROWS = [
    {
        "id": question,
        "messages": [
            {"role": "system", "content": "Say it."},
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ],
    }
    for question, answer in [("aaaaaa", "Four."), ("77 77+", "five,")]
]
STEPS = 30
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(name, folder of the untrained model)."""
    return request.param, make(tmp_path_factory.mktemp(request.param) / "model", request.param)


def train(model: Path, folder: Path, method: str, steps: int, rate: float) -> list[float]:
    """The losses of so many steps of four rows."""
    train_student(
        StudentConfig.model_validate({"model": str(model), "method": method, "lora_rank": 4}),
        FinetuneConfig(learning_rate=rate, batch_size=4, epochs=1),
        [row | {"id": f"{row['id']}-{i}"} for i in range(2 * steps) for row in ROWS],
        None,
        folder,
        seed=1,
        stage_fingerprint="",
        on_progress=lambda *_: None,
    )
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [line["loss"] for line in map(json.loads, lines) if "loss" in line]


def loaded(folder: Path) -> tuple[Any, Any]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prepare_tokenizer(tokenizer)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(), tokenizer


def encoded(tokenizer: Any) -> list[Encoded]:
    return [encode_example(tokenizer, row["messages"], max_length=999) for row in ROWS]


def test_an_overfitted_student_answers_by_heart_and_stops(family: Any, tmp_path: Path) -> None:
    name, folder = family
    losses = train(folder, tmp_path, "full", STEPS, 2e-2)
    assert len(losses) == STEPS and max(losses[-4:]) < 0.1 < losses[0]
    model, tokenizer = loaded(tmp_path / "student")
    end = tokenizer.convert_tokens_to_ids(FAMILIES[name].end)
    assert end in GenerationConfig.from_pretrained(tmp_path / "student").eos_token_id
    for row in ROWS:
        *asked, answer = row["messages"]
        ids = encode_prompt(tokenizer, asked)
        # With the folder's own generation config, as any server would.
        output = model.generate(torch.tensor([ids]), max_new_tokens=20)[0, len(ids) :].tolist()
        assert output[-1] == end and output.count(end) == 1
        assert tokenizer.decode(output, skip_special_tokens=True).strip() == answer["content"]


def test_a_merged_adapter_is_a_plain_model_of_the_same_class(family: Any, tmp_path: Path) -> None:
    _, folder = family
    train(folder, tmp_path, "lora", 8, 1e-2)
    before, tokenizer = loaded(folder)
    after, _ = loaded(tmp_path / "student")
    assert type(after) is type(before) and not list((tmp_path / "student").glob("adapter*"))
    assert after.num_parameters() == before.num_parameters()
    was, found = (batch_loss(Teaching(m), encoded(tokenizer)).item() for m in (before, after))
    assert found < 0.9 * was


def batch_loss(teaching: Teaching, rows: list[Encoded]) -> torch.Tensor:
    tokens = sum(row.targets for row in rows)
    return teaching(collate(rows, pad_id=0, device=CPU), 1 / tokens, 1.0).loss


def test_the_fused_loss_is_that_of_the_model_s_own_logits(family: Any) -> None:
    """In float64, row by row and without padding; the fused one sees the padded batch."""
    _, folder = family
    model, tokenizer = loaded(folder)
    longer = [{"role": "user", "content": "and " * 9}, {"role": "assistant", "content": "No."}]
    rows = [*encoded(tokenizer), encode_example(tokenizer, longer, max_length=999)]
    assert len({len(row.ids) for row in rows}) == 2 and Forward(model).fused
    found = batch_loss(Teaching(model), rows)
    found.backward()
    gradients = {name: p.grad.double() for name, p in model.named_parameters()}
    exact = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    nats = torch.zeros((), dtype=torch.float64)
    for row in rows:
        logits_TV = exact(input_ids=torch.tensor([row.ids])).logits[0].double()
        for position in range(1, len(row.ids)):
            if row.labels_mask[position]:
                scores_V = logits_TV[position - 1].log_softmax(-1)
                nats = nats - scores_V[row.ids[position]]
    mean = nats / sum(row.targets for row in rows)
    mean.backward()
    assert found.item() == pytest.approx(mean.item(), rel=1e-5)
    for name, parameter in exact.named_parameters():
        scale = parameter.grad.abs().max().item()
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-3, atol=1e-4 * scale)


def test_quirks_are_in_the_models(family: Any) -> None:
    """A test of the tests: what makes the families differ has survived saving and loading."""
    name, folder = family
    model, _ = loaded(folder)
    quirks = FAMILIES[name].quirks
    for key, value in quirks.items():
        kept = getattr(model.config, key)
        assert kept == value or (isinstance(value, dict) and value.items() <= kept.items()), key
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert tied == bool(quirks.get("tie_word_embeddings", False))


@pytest.mark.parametrize("name", ["phi-3.5-mini", "phi-4-mini", "llama-3.1"])
def test_a_config_in_the_spelling_of_the_hub_means_the_same(name: str, tmp_path: Path) -> None:
    """Checkpoints of 2024 say rope_scaling, rope_theta and partial_rotary_factor."""
    folder = make(tmp_path / "model", name)
    ids_BT = torch.arange(100)[None] % 50
    expected, _ = loaded(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    if name.startswith("phi"):
        config["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
        rope = {"type": "longrope", **{key: rope[key] for key in ("short_factor", "long_factor")}}
    config["rope_scaling"] = rope
    path.write_text(json.dumps(config))
    found, _ = load_student(StudentConfig(model=str(folder), method="full"), seed=0)
    with torch.no_grad():
        assert torch.equal(found.eval()(ids_BT).logits, expected(ids_BT).logits)
    assert rope_limit(found) == rope_limit(expected) == (LIMIT if "phi" in name else None)


def test_a_vision_tower_comes_along_untouched(tmp_path: Path) -> None:
    """Gemma 3 from 4B on: what AutoModelForCausalLM makes of it reads images too."""
    tokenizer = tokenizer_of(FAMILIES["gemma-3"])
    text = TINY | GEMMA3_QUIRKS | {"vocab_size": len(tokenizer)}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    vision |= {"num_attention_heads": 2, "image_size": 28, "patch_size": 14}
    config = Gemma3Config(
        text_config=text,
        vision_config=vision,
        mm_tokens_per_image=1,
        **{f"{role}_token_index": 5 + i for i, role in enumerate(("image", "boi", "eoi"))},
    )
    before = AutoModelForCausalLM.from_config(config)
    before.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    train(tmp_path / "model", tmp_path, "full", 2, 1e-2)
    after, _ = loaded(tmp_path / "student")
    assert type(after) is type(before) and Forward(after).fused
    changed = {
        name for name, p in after.named_parameters() if not p.equal(before.get_parameter(name))
    }
    assert changed == {name for name, _ in after.named_parameters() if "language_model" in name}
    answerer = Answerer(after.eval(), tokenizer, max_tokens=12)
    assert answerer.fitting([[1] * 500, [1] * 501]) == [0]
