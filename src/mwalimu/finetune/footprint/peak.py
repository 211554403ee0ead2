"""The fullest moment of a training, in terms.

Weights and, from the second step on, the optimiser's moments are always there. Which moment of a
step is the fullest depends on what is large: kept activations, gradients, or the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mwalimu.finetune.footprint.head import (
    held_gradient,
    loss_bytes,
    loss_bytes_without_gradient,
)
from mwalimu.finetune.footprint.layer import (
    SCORES_PASSING,
    backward_hump,
    forward_hump,
    kept,
    kept_weights,
    largest_gradient,
    matrix_hump,
)
from mwalimu.finetune.footprint.model import FLOAT32
from mwalimu.finetune.footprint.setting import Learns, Setting
from mwalimu.finetune.footprint.weights import (
    frozen_bytes,
    learned_bytes,
    learned_in_layer,
    optimiser_bytes,
    optimiser_hump,
)

MOMENTS = {
    # A live teacher keeps nothing, but its layers need room while they run.
    "teacher": "while the teacher runs",
    "forward": "in the last layer's forward pass",
    # All that is kept, the head's gradients, and a chunk of logits.
    "loss": "while the loss runs",
    "backward": "in the last layer's backward pass",
    "first layer": "in the first layer's backward pass",
    # All gradients, and once more that of the embeddings.
    "embeddings": "when the embeddings' gradient is made",
    "update": "in the optimiser's update",
    # The last step's gradients are still there.
    "validation": "in validation",
    "publishing": "when the student is published",
}

ROW_TOKEN_BYTES = 5  # of a token and of its flag, as `Encoded` holds them
BATCH_TOKEN_BYTES = 8
STEPS_READY = 2  # the one that runs, and the next, which is made meanwhile
# Of logits on which a merged student is compared with what was trained: `finetune.student.parity`.
PARITY_ROWS, PARITY_TOKENS, PARITY_COPIES = 4, 64, 5
CUBLAS_BYTES = 32 << 20  # its workspace under CUBLAS_WORKSPACE_CONFIG=:4096:8


class Terms(NamedTuple):
    """Bytes that are alive at one moment."""

    weights: float = 0.0
    gradients: float = 0.0
    optimiser: float = 0.0
    activations: float = 0.0
    head: float = 0.0
    teacher: float = 0.0
    rows: float = 0.0
    runtime: float = 0.0

    @property
    def total(self) -> float:
        return sum(self)


class Footprint(NamedTuple):
    """`moment` is the fullest, `terms` what is there then."""

    moment: str
    terms: Terms


def footprint(how: Setting) -> Footprint:
    """At the peak of a training; of its own, the libraries are not counted."""
    return max(moments(how), key=lambda found: found.terms.total)


def moments(how: Setting) -> Iterator[Footprint]:
    always = Terms(
        weights=frozen_bytes(how) + learned_bytes(how),
        optimiser=optimiser_bytes(how),
        teacher=_teacher_weights(how),
        rows=_rows(how),
        runtime=CUBLAS_BYTES if how.device == "cuda" else 0.0,
    )
    # Of an earlier micro-batch of the same step.
    before = learned_bytes(how) if how.passes > 1 else 0.0
    whole = learned_bytes(how)
    for name, terms in (*_forward(how, before), *_backward(how, before), *_after(how, whole)):
        yield Footprint(name, Terms(*map(sum, zip(always, terms, strict=True))))


def _forward(how: Setting, before: float) -> Iterator[tuple[str, Terms]]:
    kept_bytes, said = kept_in_all(how), _teacher_states(how)
    if how.teacher is not None:
        runs = how.places * forward_hump(how.teacher, how.lengths.longest)
        yield "teacher", Terms(gradients=before, teacher=runs + said)
    passing = _passing(how) + kept_bytes - _last_norm(how)
    yield "forward", Terms(gradients=before, activations=passing, teacher=said)
    yield (
        "loss",
        Terms(gradients=before, activations=kept_bytes, head=loss_bytes(how), teacher=said),
    )


def _passing(how: Setting) -> float:
    """What the last layer needs on its way beside what it and others keep, or the one below it in
    place of the last."""
    if how.checkpointing:  # autocast holds its copies of weights until all layers have run
        copies = sum(kept_weights(how, learns) for learns in how.layers)
        return copies + _running(how) - kept(how, how.layers[-1], last=True)
    scores = SCORES_PASSING * how.model.heads * how.lengths.longest if how.model.capped else 0
    return matrix_hump(how) + how.places * scores


def _running(how: Setting) -> float:
    """What a layer needs that keeps nothing."""
    return how.places * forward_hump(how.model, how.lengths.longest) + matrix_hump(how)


def _backward(how: Setting, before: float) -> Iterator[tuple[str, Terms]]:
    """The head's gradient waits for that of the embeddings, if they are one matrix."""
    tied, head = how.shape.tie_word_embeddings, held_gradient(how)
    waits = head if tied or not before else 0.0
    last, lowest = how.layers[-1], how.layers[min(how.first, len(how.layers) - 1)]
    everything = kept_in_all(how)
    yield (
        "backward",
        Terms(
            gradients=before + largest_gradient(how, last),
            activations=everything + backward_hump(how, how.targets if how.trims else how.places),
            head=waits,
        ),
    )
    if len(how.layers) - how.first > 1:  # the one below has a whole MLP, and may run again
        yield (
            "backward",
            Terms(
                gradients=before or learned_in_layer(how, last),
                activations=everything
                - kept(how, last, last=True)
                - _last_norm(how)
                + _again(how, how.layers[-2])
                + backward_hump(how, how.places),
                head=waits,
            ),
        )
    of_vocabulary = head * (1 if tied else 2)
    yield (
        "first layer",
        Terms(
            gradients=before or max(0.0, learned_bytes(how) - of_vocabulary),
            activations=kept(how, lowest) + backward_hump(how, how.places),
            head=waits,
        ),
    )
    if how.embeddings_learn:
        new = how.precision.learned * how.model.vocabulary_numbers
        yield (
            "embeddings",
            Terms(
                gradients=learned_bytes(how) + (new if before else 0.0),
                activations=float(how.places * how.precision.stream * how.model.hidden),
                head=waits if tied else 0.0,
            ),
        )


def _after(how: Setting, gradients: float) -> Iterator[tuple[str, Terms]]:
    if how.validates:
        passing = _running(how)
        head, said = loss_bytes_without_gradient(how), _teacher_states(how)
        yield "validation", Terms(gradients=gradients, activations=passing, teacher=said)
        yield "validation", Terms(gradients=gradients, head=head, teacher=said)
    if hump := optimiser_hump(how):
        yield "update", Terms(gradients=gradients, optimiser=hump)
    size = how.precision.learned if how.embeddings_learn else how.precision.frozen
    looked = (size + 3) * how.model.vocabulary_numbers  # absolute values, and tables of truth
    yield "publishing", Terms(gradients=gradients, weights=float(looked))
    if how.student.adapts and how.student.publish == "merged":
        tokens = PARITY_ROWS * min(PARITY_TOKENS, how.lengths.longest)
        logits = PARITY_COPIES * FLOAT32 * tokens * how.shape.vocab_size
        yield "publishing", Terms(gradients=gradients, head=float(logits))


def kept_in_all(how: Setting) -> float:
    """Of the whole forward pass."""
    if how.checkpointing:  # of all layers but the last
        below = len(how.layers) - how.first - 1
        inputs = below * how.precision.stream * how.model.hidden * how.places
        return inputs + kept(how, how.layers[-1], last=True) + _last_norm(how)
    layers = (
        kept(
            how,
            learns,
            first=index == how.first and not how.embeddings_learn,
            last=index == len(how.layers) - 1,
        )
        for index, learns in enumerate(how.layers)
        if index >= how.first
    )
    return sum(layers) + _last_norm(how)


def _again(how: Setting, learns: Learns) -> float:
    """Of a layer that is run once more; its input is there already."""
    if not how.checkpointing:
        return 0.0
    held = how.precision.stream if how.precision.stream == FLOAT32 else 0
    return kept(how, learns) - how.places * held * how.model.hidden + matrix_hump(how)


def _last_norm(how: Setting) -> float:
    size, hidden = how.precision, how.model.hidden
    normalised = FLOAT32 if how.model.wide_norms else size.stream
    a_token = FLOAT32 * (hidden + 1) + (normalised * hidden if how.last_norm_learns else 0)
    rotations = 2 * how.line * how.shape.head_dim * size.stream
    return float(how.places * a_token + rotations)


def _teacher_weights(how: Setting) -> float:
    """Of a live one; of one that is cached what it says of the steps that are ready."""
    if how.teacher is None:
        return STEPS_READY * how.cached * how.passes * how.targets
    return float(how.teacher.shape.parameters * how.teacher.precision.frozen)


def _teacher_states(how: Setting) -> float:
    """At the target positions, until the loss is over."""
    teacher = how.teacher
    return (
        0.0 if teacher is None else float(how.targets * teacher.hidden * teacher.precision.compute)
    )


def _rows(how: Setting) -> float:
    """Those of a step as tensors; on a CPU also all of them, as they were encoded."""
    step = how.passes * BATCH_TOKEN_BYTES * (how.places + 3 * how.targets)
    own = ROW_TOKEN_BYTES * how.lengths.all if how.device == "cpu" else 0
    return float(STEPS_READY * step + own)
