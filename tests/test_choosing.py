"""What objective a job gets, and what it is refused, by one line and before anything is paid."""

from pathlib import Path
from typing import Any

import pytest

from mwalimu.choosing import Choice, choose
from mwalimu.config import (
    DIVERGENCES,
    Config,
    PartConfig,
    build_config,
    capture_temperature,
    needed_signals,
)
from mwalimu.errors import ConfigError, MwalimuError, StudentError, UnknownTeacherModel
from tests.data.tokenizers_by_kind import tokenizer_of
from tests.tiny import CHAT_TEMPLATE, make_tiny_model, make_tokenizer

OTHER_END = CHAT_TEMPLATE.replace("<|end|>", "<s>")
RAMP = {"start": 1.0, "end": 4.0}
BY_ROW = {"start": 0.5, "end": 1.0, "shape": "per_sample"}
SERVED = {"base_url": "http://localhost:9/v1", "model": "big", "top_logprobs": 8}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student, and teachers that have its tokens or others."""
    folder = tmp_path_factory.mktemp("models")
    make_tiny_model(folder / "student", layers=2)
    make_tiny_model(folder / "teacher", layers=4, padding=26)
    make_tiny_model(folder / "others", tokenizer=tokenizer_of("byte level"))
    make_tiny_model(folder / "other-end", tokenizer=make_tokenizer(OTHER_END))
    more = make_tokenizer()
    more.add_special_tokens({"additional_special_tokens": ["<|tool|>", "<|call|>"]})
    make_tiny_model(folder / "more", tokenizer=more)
    return folder


def job(models: Path, objective: Any = "auto", **sections: Any) -> Config:
    teacher = {"model": str(models / "teacher")} | sections.pop("teacher", {})
    finetune = {"objective": objective} | sections.pop("finetune", {})
    raw = {
        "task": "generic",
        "data": {"train": "p.jsonl"},
        "teacher": teacher,
        "student": {"model": str(models / "student")} | sections.pop("student", {}),
        "finetune": finetune,
        **sections,
    }
    return build_config(raw, base=models)


def chosen(models: Path, objective: Any = "auto", **sections: Any) -> Choice:
    choice = choose(job(models, objective, **sections))
    finetune = choice.config.finetune
    assert finetune.objective and finetune.teacher != "auto"
    assert choice.config.signals.encoding != "auto"
    assert choose(choice.config).config == choice.config  # it is settled
    return choice


def refused(models: Path, objective: Any = "auto", **sections: Any) -> str:
    with pytest.raises(ConfigError) as error:
        choose(job(models, objective, **sections))
    line = str(error.value)
    assert "\n" not in line and error.value.where and error.value.fix
    return line


AUTO = ["forward_kl", "cross_entropy"]


def kinds(choice: Choice) -> list[str]:
    return [part.kind for part in choice.config.finetune.objective]


# What auto means.


def test_the_same_tokens_give_the_distribution_by_its_best(models: Path) -> None:
    choice = chosen(models)
    assert kinds(choice) == AUTO and choice.config.finetune.teacher == "cached"
    assert needed_signals(choice.config) == ("topk",)
    size = len(make_tokenizer())
    assert choice.why.startswith(
        "forward_kl + cross_entropy: the teacher's distribution, token by token: "
    )
    assert f"{size} ids mean the same to both" in choice.why
    assert choice.config.signals.vocabulary == size  # padding of the teacher is no token


def test_control_tokens_of_the_teacher_alone_are_cut_off(models: Path) -> None:
    choice = chosen(models, teacher={"model": str(models / "more")})
    assert kinds(choice) == AUTO
    assert choice.config.signals.vocabulary == len(make_tokenizer())


def test_other_tokens_give_the_likelihood_of_pieces_beside_the_text(models: Path) -> None:
    choice = chosen(models, teacher={"model": str(models / "others")})
    assert kinds(choice) == ["chunk_likelihood", "cross_entropy"]
    assert needed_signals(choice.config) == ("realised",)
    assert "its tokens are not the student's (id 0 is " in choice.why
    assert choice.config.signals.vocabulary is None


def test_another_end_of_turn_is_another_token(models: Path) -> None:
    """Each position has the same ids, but a student would learn to end with a token not its own."""
    choice = chosen(models, teacher={"model": str(models / "other-end")})
    assert kinds(choice) == ["chunk_likelihood", "cross_entropy"]
    assert "the one ends its turn with <s>, the other with <|end|>" in choice.why
    line = refused(models, "forward_kl", teacher={"model": str(models / "other-end")})
    assert "forward_kl compares token by token, and teacher and student differ: the one" in line


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({"teacher": {"model": "fake"}}, "the fake teacher has no distribution"),
        (
            {"teacher": SERVED | {"top_logprobs": 0}},
            "openai_compatible gives none without teacher.top_logprobs",
        ),
        ({"teacher": SERVED}, "known only with teacher.tokenizer"),
        (
            {"ensemble": {"strategy": "vote", "others": [{"model": "fake"}]}},
            "the answers come from several teachers",
        ),
        (
            {"generate": {"rationale": "mix", "chain_of_thought": True}},
            "the answers hold reasoning that the teacher's own prompt asked for",
        ),
    ],
)
def test_where_there_is_only_text_it_is_text(
    models: Path, sections: dict[str, Any], reason: str
) -> None:
    choice = chosen(models, **sections)
    assert kinds(choice) == ["cross_entropy"] and needed_signals(choice.config) == ()
    assert choice.why.startswith("cross_entropy: text alone: ") and reason in choice.why
    line = refused(models, [{"kind": "cross_entropy"}, {"kind": "jsd"}], **sections)
    assert reason in line and "use cross_entropy, or auto" in line
    on_policy = {"finetune": {"on_policy": {}}}
    assert reason in refused(models, "forward_kl", **sections, **on_policy)


def test_text_as_asked_reads_no_model(models: Path) -> None:
    nowhere = {"teacher": {"model": "./none"}, "student": {"model": "./none"}}
    choice = chosen(models, "cross_entropy", **nowhere)
    assert choice.why == "cross_entropy: the teacher's answers as text, as asked"


def test_a_served_teacher_with_its_tokenizer_gives_its_best_tokens(models: Path) -> None:
    teacher = SERVED | {"tokenizer": str(models / "teacher")}
    choice = chosen(models, teacher=teacher)
    assert kinds(choice) == AUTO and needed_signals(choice.config) == ("topk",)
    others = chosen(models, teacher=SERVED | {"tokenizer": str(models / "others")})
    assert kinds(others) == ["chunk_likelihood", "cross_entropy"]


def test_a_teacher_on_this_machine_brings_its_own_tokenizer(models: Path) -> None:
    choice = chosen(models, teacher={"tokenizer": str(models / "others")})
    assert kinds(choice) == AUTO


def test_what_cannot_be_read_is_told_by_whose_it_is(models: Path) -> None:
    for section, kind, code in (
        ("teacher", UnknownTeacherModel, 4),
        ("student", StudentError, 5),
    ):
        with pytest.raises(kind, match="none: its tokenizer cannot be read") as error:
            choose(job(models, **{section: {"model": str(models / "none")}}))
        assert isinstance(error.value, MwalimuError) and error.value.exit_code == code
        assert "\n" not in str(error.value)


# What is asked for.


@pytest.mark.parametrize("kind", DIVERGENCES)
def test_every_divergence_takes_the_best_tokens(models: Path, kind: str) -> None:
    choice = chosen(models, kind)
    assert kinds(choice) == [kind] and needed_signals(choice.config) == ("topk",)
    assert choice.why == f"{kind}: as asked"
    mixed = chosen(models, ["forward_kl", {"kind": kind, "weight": 0.5}, "cross_entropy"])
    assert needed_signals(mixed.config) == ("topk",)
    others = {"teacher": {"model": str(models / "others")}}
    line = refused(models, kind, **others)
    assert f"{kind} compares token by token" in line and "use chunk_likelihood, or auto" in line


@pytest.mark.parametrize("encoding", ["sampled", "topk", "dense"])
def test_an_encoding_that_was_asked_for_is_kept(models: Path, encoding: str) -> None:
    choice = chosen(models, "forward_kl", signals={"encoding": encoding})
    assert needed_signals(choice.config) == (encoding,)


def test_encodings_that_cannot_hold_what_is_asked(models: Path) -> None:
    line = refused(models, "jsd", signals={"encoding": "sampled"})
    assert "draws give no unbiased jsd" in line and "use topk or dense" in line
    for encoding in ("hidden", "realised"):
        line = refused(models, "jsd", signals={"encoding": encoding})
        assert f"{encoding} holds no distribution over tokens" in line
    served = SERVED | {"tokenizer": str(models / "teacher")}
    for encoding in ("sampled", "dense"):
        line = refused(models, "forward_kl", teacher=served, signals={"encoding": encoding})
        assert f"a served teacher reports its best tokens, not {encoding}" in line


SEVERAL = [{"kind": "forward_kl", "temperature": 2.0}, {"kind": "reverse_kl"}]
VARYING = {"kind": "forward_kl", "temperature": RAMP}


@pytest.mark.parametrize(
    ("objective", "what"),
    [(SEVERAL, "more than one temperature"), (VARYING, "a temperature that changes")],
)
def test_temperatures_that_no_cache_of_one_can_serve(
    models: Path, objective: Any, what: str
) -> None:
    assert chosen(models, objective).config.finetune.teacher == "live"
    dense = chosen(models, objective, signals={"encoding": "dense"})
    assert dense.config.finetune.teacher == "cached"
    assert capture_temperature(dense.config) == 1.0
    line = refused(models, objective, finetune={"teacher": "cached"})
    assert f"cannot be cached: {what} needs the whole distribution" in line
    line = refused(models, objective, signals={"encoding": "topk"})
    assert f"{what} needs the whole distribution, and topk signals are of one" in line
    live = {"finetune": {"teacher": "live"}, "signals": {"encoding": "topk"}}
    assert chosen(models, objective, **live).config.finetune.teacher == "live"
    served = SERVED | {"tokenizer": str(models / "teacher")}
    line = refused(models, objective, teacher=served)
    assert "a live teacher needs the teacher's weights on this machine" in line


def test_one_temperature_is_what_is_captured(models: Path) -> None:
    objective = [
        {"kind": "forward_kl", "temperature": 2.0},
        {"kind": "jsd", "temperature": 2.0},
        {"kind": "cross_entropy"},
        {"kind": "chunk_likelihood", "temperature": RAMP},
    ]
    config = chosen(models, objective).config
    assert config.finetune.teacher == "cached" and capture_temperature(config) == 2.0
    assert needed_signals(config) == ("topk", "realised")


def test_what_goes_by_a_rows_confidence_needs_a_distribution(models: Path) -> None:
    for kind in ("hidden", "attention", "chunk_likelihood", "optimal_transport"):
        line = refused(models, [{"kind": "forward_kl"}, {"kind": kind, "weight": BY_ROW}])
        assert f"a per_sample schedule of {kind} has no teacher's distribution" in line
    for field in ("weight", "temperature"):
        text = {"kind": "cross_entropy", field: BY_ROW}
        assert "per_sample schedule of cross_entropy" in refused(models, text)
        beside = [text, {"kind": "chunk_likelihood"}]
        assert "per_sample schedule of cross_entropy" in refused(models, beside)
        assert kinds(chosen(models, [text, {"kind": "forward_kl"}]))[0] == "cross_entropy"
    weighted = chosen(models, {"kind": "forward_kl", "weight": BY_ROW})
    assert weighted.config.finetune.teacher == "cached"
    heated = chosen(models, {"kind": "forward_kl", "temperature": BY_ROW})
    assert heated.config.finetune.teacher == "live"


# Layers.


def layers_of(choice: Choice) -> Any:
    part: PartConfig = choice.config.finetune.objective[0]
    assert part.pairs is None
    return part.layers


@pytest.mark.parametrize("kind", ["hidden", "attention"])
def test_layer_pairs_are_written_out(models: Path, kind: str) -> None:
    assert layers_of(chosen(models, kind)) == ((0, 1), (1, 3))
    assert layers_of(chosen(models, {"kind": kind, "layers": "last"})) == ((1, 3),)
    assert layers_of(chosen(models, {"kind": kind, "pairs": 1})) == ((1, 3),)
    by_hand = {"kind": kind, "layers": [[0, 0], [-1, -2]]}
    assert layers_of(chosen(models, by_hand)) == ((0, 0), (1, 2))
    choice = chosen(models, kind)
    assert choice.config.finetune.teacher == ("cached" if kind == "hidden" else "live")


@pytest.mark.parametrize("kind", ["hidden", "attention"])
def test_layers_that_are_not_there(models: Path, kind: str) -> None:
    for wrong, message in (
        ({"layers": [[0, 4]]}, "the teacher has no layer 4; it has 0 to 3"),
        ({"layers": [[2, 0]]}, "the student has no layer 2"),
        ({"layers": [[0, 0], [-2, 0]]}, "the layer pair [0, 0] is there twice"),
        ({"layers": []}, "there are no layer pairs"),
        ({"pairs": 3}, "cannot spread 3 layer pairs over the student's 2 layers"),
    ):
        line = refused(models, {"kind": kind} | wrong)
        assert line.startswith("finetune.objective: ") and message in line
    others = {"teacher": {"model": str(models / "others")}}
    assert f"{kind} compares token by token" in refused(models, kind, **others)


# What needs the teacher's weights.


@pytest.mark.parametrize("kind", ["hidden", "attention", "optimal_transport"])
@pytest.mark.parametrize("teacher", ["served", "vllm"])
def test_a_teacher_behind_a_door_shows_no_inside(models: Path, kind: str, teacher: str) -> None:
    door = SERVED | {"tokenizer": str(models / "teacher")}
    settings = door if teacher == "served" else {"kind": "vllm"}
    line = refused(models, kind, teacher=settings)
    assert f"{kind} needs the teacher's weights on this machine" in line


@pytest.mark.parametrize("objective", ["auto", "reverse_kl"])
def test_nor_can_it_sit_beside_the_student(models: Path, objective: str) -> None:
    served = {"teacher": SERVED | {"tokenizer": str(models / "teacher")}}
    line = refused(models, objective, **served, finetune={"teacher": "live"})
    assert line.startswith("finetune.teacher: a live teacher needs the teacher's weights")
    line = refused(models, objective, **served, finetune={"on_policy": {}})
    assert line.startswith("finetune.on_policy: on_policy needs the teacher's weights")


def test_what_keeps_no_cache_is_live(models: Path) -> None:
    for kind in ("attention", "optimal_transport"):
        assert chosen(models, kind).config.finetune.teacher == "live"
        line = refused(models, kind, finetune={"teacher": "cached"})
        assert f"cannot be cached: {kind} keeps no cache" in line
    live = chosen(models, finetune={"teacher": "live"}).config
    assert live.finetune.teacher == "live" and needed_signals(live) == ()
    others = {"teacher": {"model": str(models / "others")}}
    assert kinds(chosen(models, "optimal_transport", **others)) == ["optimal_transport"]


def test_vllm_reports_its_best_tokens_at_temperature_1(models: Path) -> None:
    vllm = {"teacher": {"kind": "vllm"}}
    choice = chosen(models, **vllm)
    assert kinds(choice) == AUTO and needed_signals(choice.config) == ("topk",)
    for encoding in ("sampled", "dense"):
        line = refused(models, "forward_kl", **vllm, signals={"encoding": encoding})
        assert f"vLLM reports its best tokens, not {encoding}" in line
    line = refused(models, {"kind": "jsd", "temperature": 2.0}, **vllm)
    assert "at temperature 1, from which no other follows" in line
    others = chosen(models, teacher={"kind": "vllm", "model": str(models / "others")})
    assert needed_signals(others.config) == ("realised",)


def test_a_server_that_scores_can_do_what_others_cannot(models: Path) -> None:
    scoring = {"top_logprobs": 0, "scoring": "vllm", "tokenizer": str(models / "teacher")}
    served = {"teacher": SERVED | scoring}
    choice = chosen(models, **served)
    assert kinds(choice) == AUTO and needed_signals(choice.config) == ("topk",)
    assert choice.config.signals.k == 20
    assert chosen(models, **served, signals={"k": 5}).config.signals.k == 5
    for finetune in ({"teacher": "live"}, {"on_policy": {}}):
        assert kinds(chosen(models, "jsd", **served, finetune=finetune)) == ["jsd"]
    warm = {"kind": "jsd", "temperature": 2.0}
    assert "reports its distribution at temperature 1" in refused(models, warm, **served)
    live = {"finetune": {"teacher": "live"}}
    line = refused(models, "chunk_likelihood", **served, **live)
    assert "a live chunk_likelihood needs the teacher's weights" in line
    line = refused(models, teacher={"scoring": "vllm"})
    assert line.startswith("teacher.scoring: a teacher of kind local is no server of this sort")
    line = refused(models, teacher=SERVED | scoring | {"tokenizer": None}, **live, objective="jsd")
    assert "known only with teacher.tokenizer" in line


# The student's own answers.


def test_on_policy_needs_a_divergence_on_the_same_tokens(models: Path) -> None:
    on_policy = {"finetune": {"on_policy": {}}}
    for objective in ("auto", "reverse_kl"):
        assert chosen(models, objective, **on_policy).config.finetune.on_policy is not None
    for objective in ("cross_entropy", "hidden"):
        line = refused(models, objective, **on_policy)
        assert "there is no divergence in the objective" in line
    others = {"teacher": {"model": str(models / "others")}}
    assert "its tokens are not the student's" in refused(models, **others, **on_policy)
    for kind in ("chunk_likelihood", "optimal_transport"):
        line = refused(models, [{"kind": "jsd"}, {"kind": kind}], **on_policy)
        assert f"{kind} is about the teacher's answers" in line


@pytest.mark.parametrize(
    ("share", "message"),
    [(1.5, "share is at most 1"), (RAMP, "share is at most 1"), (BY_ROW, "cannot go by")],
)
def test_a_share_is_one_of_rows(models: Path, share: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        job(models, finetune={"on_policy": {"share": share}})
