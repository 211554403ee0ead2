"""A teacher with other tokens, through the whole of `Teaching`: chunks and transport by hand."""

from pathlib import Path

import pytest
import torch

from mwalimu.data.tokenize import Encoded, encode_example, prepare_tokenizer
from mwalimu.finetune.teaching import accumulate
from tests.data.tokenizers_by_kind import tokenizer_of
from tests.finetune import exact
from tests.finetune.exact import Seen
from tests.finetune.jobs import chat
from tests.finetune.taught import Pair, Taught, config_of, make_pair, taught

ROWS = [
    chat(str(i), question, answer)
    for i, (question, answer) in enumerate(
        [
            ("where", "the cat sat on the mat, then the other cat sat there"),
            ("who", "the other cat"),
            ("how", "the the the mat mat"),
            ("x", "x = 2"),
        ]
    )
]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("pair"), other_tokens=True)


class Exact:
    """The teacher reads a row in its own tokens. The student's tokens are characters, so that each
    of the teacher's is a chunk."""

    def __init__(self, pair: Pair) -> None:
        self.model = exact.load(pair.teacher)
        self.tokenizer = tokenizer_of("byte level")
        prepare_tokenizer(self.tokenizer)
        self.rows = {row["id"]: row for row in ROWS}

    def own(self, row: Encoded) -> tuple[Encoded, Seen, list[int]]:
        """The row in the teacher's tokens, what it makes of them, and their lengths."""
        messages = self.rows[row.row_id]["messages"]
        own = encode_example(self.tokenizer, messages, max_length=500)
        with torch.no_grad():
            seen = exact.see(self.model, own)
        ids = exact.labels_of(own).tolist()
        lengths = [len(self.tokenizer.decode([i])) for i in ids[:-1]]
        assert sum(lengths) == len(messages[-1]["content"])
        return own, seen, [*lengths, 1]  # the end of turn is one token to both


@pytest.fixture(scope="module")
def teacher(pair: Pair) -> Exact:
    return Exact(pair)


def check(one: Taught, loss_of: object, tolerance: float) -> None:
    value, expected = exact.gradients(one.model, one.encoded, loss_of)  # type: ignore[arg-type]
    for size in (len(one.encoded), 3, 1):
        one.model.zero_grad()
        taken = accumulate(one.teaching, one.batches(size))
        assert float(taken.loss) == pytest.approx(value, rel=tolerance)
        exact.compare(one.model, expected, tolerance)


def spoken(seen: Seen, row: Encoded) -> torch.Tensor:
    """Log-probabilities of the row's own targets."""
    logq_nV = seen.logits_nV.log_softmax(1)
    return logq_nV[torch.arange(len(logq_nV)), exact.labels_of(row)]


@pytest.mark.parametrize("live", [False, True])
def test_likelihoods_of_chunks(tmp_path: Path, pair: Pair, teacher: Exact, live: bool) -> None:
    part = {"kind": "chunk_likelihood", "weight": 0.5, "temperature": 4.0}
    objective = [part, {"kind": "cross_entropy", "weight": 0.25}]
    finetune = {"teacher": "live" if live else "cached"}
    one = taught(tmp_path, config_of(pair, objective, finetune=finetune), ROWS, max_length=200)

    def loss_of(seen: Seen, row: Encoded) -> torch.Tensor:
        own, theirs, lengths = teacher.own(row)
        logp_M = spoken(theirs, own)
        logq_M = torch.stack([part.sum() for part in spoken(seen, row).split(lengths)])
        p, q = (logp_M / 4).exp(), (logq_M / 4).exp()
        total = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum()
        return 0.5 * 4 * total + 0.25 * exact.cross_entropy(seen, row)

    check(one, loss_of, 1e-4 if live else 3e-3)


def test_transport_where_both_have_read_the_same(
    tmp_path: Path, pair: Pair, teacher: Exact
) -> None:
    part = {"kind": "optimal_transport", "weight": 1.5, "temperature": 2.0}
    one = taught(tmp_path, config_of(pair, part), ROWS, max_length=200)

    def loss_of(seen: Seen, row: Encoded) -> torch.Tensor:
        _, theirs, lengths = teacher.own(row)
        starts = torch.tensor([0, *lengths[:-1]]).cumsum(0)
        q = (seen.logits_nV[starts] / 2).softmax(1).sort(1, descending=True).values
        p = (theirs.logits_nV / 2).softmax(1)
        p = p[:, : len(teacher.tokenizer)].sort(1, descending=True).values
        longest = max(p.shape[1], q.shape[1])
        pads = [torch.zeros(len(x), longest - x.shape[1]) for x in (p, q)]
        padded_p, padded_q = (torch.cat(pair, 1) for pair in zip((p, q), pads, strict=True))
        return 1.5 * (padded_p - padded_q).abs().sum()

    check(one, loss_of, 1e-4)


def test_both_at_once_and_a_batch_that_nothing_is_known_of(
    tmp_path: Path, pair: Pair, teacher: Exact
) -> None:
    """A conversation that the teacher's context does not hold teaches its text alone."""
    long = chat("long", "a " * 600, "short")
    objective = ["chunk_likelihood", "optimal_transport", "cross_entropy"]
    one = taught(tmp_path, config_of(pair, objective), [*ROWS, long], max_length=1500)
    unknown = one.batch(len(ROWS))
    term = one.teaching(unknown, 1.0, 0.0)
    term.loss.backward()
    assert float(term.sums["chunk_likelihood"]) == float(term.sums["optimal_transport"]) == 0
    assert float(term.loss.detach()) == pytest.approx(float(term.sums["cross_entropy"]))
    known = one.batch(0, 1)
    sums = one.teaching(known, 1.0, 0.0).sums
    assert float(sums["chunk_likelihood"]) > 0 and float(sums["optimal_transport"]) > 0


def test_pieces_and_distributions_of_one_live_teacher(tmp_path: Path) -> None:
    """Where the tokens are the same, all can be had of it at once."""
    same = make_pair(tmp_path / "pair")
    objective = ["forward_kl", "chunk_likelihood", "optimal_transport", "hidden"]
    one = taught(tmp_path / "run", config_of(same, objective), max_length=64)
    sums = one.teaching(one.batch(), 1.0, 0.0).sums
    assert list(sums) == objective and all(float(value) > 0 for value in sums.values())
