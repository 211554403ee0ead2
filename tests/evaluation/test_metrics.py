import sys
from pathlib import Path

import numpy as np
import pytest
import sacrebleu
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sklearn.metrics import cohen_kappa_score, f1_score

from mwalimu.data.chrf import sentence_chrf
from mwalimu.errors import ConfigError
from mwalimu.evaluation import metrics
from mwalimu.evaluation.metrics.agreement import cohen_kappa, same_answer
from mwalimu.evaluation.metrics.calibration import ece_equal_mass, ece_equal_width
from mwalimu.evaluation.metrics.divergence import Divergence, expected_tokens
from mwalimu.evaluation.metrics.similarity import Encoder, bert_score, greedy_f1
from tests.tiny import make_tokenizer

TEXTS = ["the cat sat on the mat", "", "A dog, barking!", "one two three four five six"]
GOLD = ["the cat lay on the mat", "nothing", "a dog barked", "one two three four five six"]
FEW = settings(max_examples=60, deadline=None)


def test_bleu_and_chrf_are_the_librarys() -> None:
    expected = sacrebleu.BLEU().corpus_score(TEXTS, [GOLD]).score
    assert metrics.corpus_bleu(TEXTS, GOLD) == pytest.approx(expected)
    assert 0 < expected < 100
    assert metrics.corpus_bleu([""], ["x"]) == 0
    assert metrics.chrf(TEXTS, GOLD) == sacrebleu.CHRF().corpus_score(TEXTS, [GOLD]).score


@FEW
@given(st.text("ab cé\n", max_size=20), st.text("ab cé\n", max_size=20))
def test_sentence_chrf_is_the_librarys(prediction: str, reference: str) -> None:
    expected = sacrebleu.sentence_chrf(prediction, [reference]).score
    assert 100 * sentence_chrf(prediction, reference) == pytest.approx(expected)


def test_rouges_are_the_librarys_and_counted_by_hand() -> None:
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    scores = [scorer.score(g, t) for t, g in zip(TEXTS, GOLD, strict=True)]
    found = metrics.rouge(TEXTS, GOLD)
    assert found is not None
    for kind, value in found.items():
        assert value == pytest.approx(sum(score[kind].fmeasure for score in scores) / 4)
    # 5 words in common and in order, of 6 each; then none; then "a dog" of 3 each; then all.
    assert metrics.rouge_l(TEXTS, GOLD) == pytest.approx((5 / 6 + 0 + 2 / 3 + 1) / 4)


def test_without_the_libraries_there_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sacrebleu", "rouge_score", "rouge_score.rouge_scorer"):
        monkeypatch.setitem(sys.modules, name, None)
    assert metrics.corpus_bleu(TEXTS, GOLD) is metrics.chrf(TEXTS, GOLD) is None
    assert metrics.rouge(TEXTS, GOLD) is metrics.rouge_l(TEXTS, GOLD) is None


@FEW
@given(st.lists(st.tuples(st.sampled_from("abcx"), st.sampled_from("abc")), min_size=1))
def test_macro_f1_is_scikits(pairs: list[tuple[str, str]]) -> None:
    said, gold = map(list, zip(*pairs, strict=True))
    # Classes are those of the references: x, which none of them is, has no F1 of its own.
    expected = f1_score(gold, said, labels=sorted(set(gold)), average="macro", zero_division=0)
    assert metrics.macro_f1(said, gold) == pytest.approx(expected)


def test_macro_f1_reads_labels_as_the_grade_does() -> None:
    assert metrics.macro_f1(["Because.\nAnswer: Yes.", " NO "], ["yes", "no"]) == 1


def test_calibration_by_hand() -> None:
    # Bins of 1/2: (0.2, 0.4) are 30 % sure and 50 % right, (0.9, 0.7) 80 % sure and 50 % right.
    sure, right = [0.2, 0.9, 0.4, 0.7], [0.0, 1.0, 1.0, 0.0]
    expected = (abs(1 - 0.6) + abs(1 - 1.6)) / 4
    assert ece_equal_width(sure, right, bins=2) == pytest.approx(expected)
    assert ece_equal_mass(sure, right, bins=2) == pytest.approx(expected)
    # An edge belongs to the bin below it, 0 to the first.
    assert ece_equal_width([0.5, 1.0, 0.0], [1, 0, 0], bins=2) == pytest.approx(1.5 / 3)
    # Three rows in two bins of equal mass: two, then one.
    assert ece_equal_mass([0.1, 0.2, 0.3], [0, 1, 1], bins=2) == pytest.approx(
        (abs(1 - 0.3) + abs(1 - 0.3)) / 3
    )
    with pytest.raises(ValueError, match="0 confidences"):
        ece_equal_width([], [])
    with pytest.raises(ValueError, match="1 confidences for 2"):
        ece_equal_mass([0.1], [0, 1])


def test_a_calibrated_model_has_little_error_and_an_overconfident_one_much() -> None:
    generator = np.random.default_rng(0)
    sure = generator.random(20_000)
    right = (generator.random(20_000) < sure).astype(float)
    for ece in (ece_equal_width, ece_equal_mass):
        assert ece(sure, right) < 0.015
        assert ece(np.minimum(1, sure + 0.2), right) == pytest.approx(0.18, abs=0.02)


@FEW
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1))
def test_kappa_is_scikits(pairs: list[tuple[str, str]]) -> None:
    one, two = map(list, zip(*pairs, strict=True))
    found = cohen_kappa(one, two)
    if found is None:
        assert len({*one, *two}) == 1
    else:
        assert found == pytest.approx(cohen_kappa_score(one, two))


def test_agreement_is_of_answers_not_of_texts() -> None:
    assert same_answer(["The Nile.", "x"], ["nile", "y"]) == 0.5
    assert same_answer(["Long.\nAnswer: 4"], ["4"]) == 1
    with pytest.raises(ValueError, match="for 2"):
        cohen_kappa(["a"], ["a", "b"])


def test_divergence_by_hand() -> None:
    p, q = torch.tensor([[0.5, 0.5], [0.9, 0.1]]), torch.tensor([[0.25, 0.75], [0.9, 0.1]])
    total = Divergence()
    total.add(p.log(), q.log())
    found = total.to_json()
    assert found is not None
    # KL = (ln 2 + ln 2/3) / 2 on the first, 0 on the second; min-sums 0.75 and 1.
    assert found["kl"] == pytest.approx((np.log(2) + np.log(2 / 3)) / 4)
    assert found["acceptance"] == pytest.approx(0.875)
    assert found["same_best_token"] == 0.5
    assert found["tokens_per_step"] == pytest.approx((1 - 0.875**5) / (1 - 0.875))
    assert Divergence().to_json() is None


def test_columns_without_a_token_are_left_out() -> None:
    one, two = Divergence(), Divergence()
    logits = torch.randn(5, 7)
    wider = torch.cat([logits * 2, torch.full((5, 3), 9.0)], dim=1)
    one.add(logits, logits * 2)
    two.add(logits, wider)
    assert one == two


@pytest.mark.parametrize("acceptance", [0.0, 0.3, 0.9, 1.0])
def test_tokens_a_step_are_those_of_a_simulation(acceptance: float) -> None:
    accepted = np.random.default_rng(0).random((20_000, 4)) < acceptance
    lengths = 1 + np.cumprod(accepted, axis=1).sum(axis=1)
    assert expected_tokens(acceptance, 4) == pytest.approx(lengths.mean(), abs=0.03)


def test_greedy_matching_by_hand() -> None:
    ours, gold = torch.eye(3)[[0, 1]], torch.eye(3)[[0]]
    assert greedy_f1(ours, gold) == pytest.approx(2 * 0.5 * 1 / 1.5)
    assert greedy_f1(ours, torch.eye(3)[[2]]) == 0
    assert greedy_f1(ours[:0], gold) == 0 and greedy_f1(ours[:0], gold[:0]) == 1


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=120,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    BertModel(config).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return Encoder(folder)


def test_similarity_of_a_batch_is_that_of_each_pair(encoder: Encoder) -> None:
    texts, gold = ["a cat", "dog", "a much longer text", ""], ["a cat", "cat", "short", "x"]
    found = bert_score(encoder, texts, gold)
    assert found[0] == pytest.approx(1) and found[3] == 0
    alone = [bert_score(encoder, [t], [g])[0] for t, g in zip(texts[:3], gold[:3], strict=True)]
    assert found[:3] == pytest.approx(alone, abs=1e-5)


def test_similarity_is_the_formula_on_the_models_own_states(encoder: Encoder) -> None:
    def states(text: str) -> torch.Tensor:
        batch = encoder.tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            found = encoder.model(**batch).last_hidden_state[0]
        return found / found.norm(dim=-1, keepdim=True)

    cosines = states("a dog") @ states("the cats").T
    precision, recall = cosines.max(1).values.mean(), cosines.max(0).values.mean()
    expected = float(2 * precision * recall / (precision + recall))
    assert bert_score(encoder, ["a dog"], ["the cats"]) == pytest.approx([expected], abs=1e-5)


def test_a_folder_that_is_no_encoder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no encoder can be loaded") as caught:
        Encoder(tmp_path)
    assert "\n" not in str(caught.value)
