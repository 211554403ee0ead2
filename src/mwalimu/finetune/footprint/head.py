"""What the loss over the vocabulary needs: a chunk of logits, and the gradients of head and states.

The fused loss finishes its gradients in the forward pass, while all layers keep what their backward
passes need: that is often the fullest moment of a step. See `objectives.fused`.

Letters: C tokens of a chunk, N target tokens, V vocabulary, H hidden.
"""

from __future__ import annotations

from mwalimu.finetune.footprint.model import BFLOAT16, FLOAT32
from mwalimu.finetune.footprint.setting import Setting
from mwalimu.objectives.chunking import block_tokens, chunk_tokens

_DENSE_COPIES = 5  # of a block: the teacher's probabilities and their logs, value, gradient


def loss_bytes(how: Setting) -> float:
    """The most while the loss runs, with its gradients."""
    hidden, half = how.shape.hidden_size, _state_bytes(how) == BFLOAT16
    states = how.targets * hidden * _state_bytes(how)
    total = _chunk_bytes(how) + 2 * states + FLOAT32 * _tokens(how) * hidden
    if how.head_learns:
        # Summed in float32; of half-precision states each chunk's share is a tensor of its own,
        # which a CPU has in half precision first.
        share = FLOAT32 + (BFLOAT16 if how.device == "cpu" else 0) if half else 0
        total += (FLOAT32 + share) * how.model.vocabulary_numbers
    return total


def loss_bytes_without_gradient(how: Setting) -> float:
    """In validation."""
    return _chunk_bytes(how) + how.targets * how.shape.hidden_size * _state_bytes(how)


def held_gradient(how: Setting) -> float:
    """Of the head's weight, once the loss is over."""
    return how.precision.learned * how.model.vocabulary_numbers if how.head_learns else 0.0


def _chunk_bytes(how: Setting) -> float:
    """Logits in float32, and once more in the states' half precision; the head in theirs."""
    states, numbers = _state_bytes(how), _tokens(how) * how.shape.vocab_size
    total = numbers * (FLOAT32 if states == FLOAT32 else FLOAT32 + BFLOAT16)
    total += FLOAT32 * numbers if how.model.capped else 0  # the logits as they were before the cap
    if states != (how.precision.learned if how.head_learns else how.precision.frozen):
        total += states * how.model.vocabulary_numbers
    return total + _teacher_bytes(how)


def _teacher_bytes(how: Setting) -> float:
    """A live teacher's logits of the chunk; on a CPU also what is made of a block of both."""
    if how.teacher is None:
        return 0.0
    total = float(FLOAT32 * _tokens(how) * how.teacher.shape.vocab_size)
    if how.device == "cpu":
        width = how.shape.vocab_size
        total += _DENSE_COPIES * FLOAT32 * width * min(_tokens(how), block_tokens(width, FLOAT32))
    return total


def _tokens(how: Setting) -> int:
    """C"""
    return min(how.targets, chunk_tokens(how.shape.vocab_size, how.device))


def _state_bytes(how: Setting) -> int:
    return BFLOAT16 if how.precision.autocast else how.precision.stream
