"""What stays for the whole training, in bytes: weights, and what the optimiser keeps of them."""

from __future__ import annotations

from mwalimu.finetune.footprint.model import BFLOAT16, FLOAT32
from mwalimu.finetune.footprint.setting import ADAPTER, Learns, Setting
from mwalimu.registry.shape import FROZEN_BYTES

# As in `finetune.low_memory_adamw`, which imports torch.
_BLOCK = 256
_SLABS = {"cpu": 1 << 16, "cuda": 1 << 24}


def frozen_bytes(how: Setting) -> float:
    """Of all weights that do not learn."""
    size, model = how.precision.frozen, how.model
    total = 0.0 if how.last_norm_learns else float(size * model.hidden)
    total += 0.0 if how.embeddings_learn else size * model.vocabulary_numbers
    if not how.shape.tie_word_embeddings and not how.head_learns:
        total += size * model.vocabulary_numbers
    return total + sum(_frozen_in_layer(how, learns) for learns in how.layers)


def learned_bytes(how: Setting) -> float:
    """Of all weights that learn, which is what their gradients take too."""
    size, model = how.precision.learned, how.model
    total = float(size * model.hidden) if how.last_norm_learns else 0.0
    total += size * model.vocabulary_numbers if how.embeddings_learn else 0
    if not how.shape.tie_word_embeddings and how.head_learns:
        total += size * model.vocabulary_numbers
    return total + sum(learned_in_layer(how, learns) for learns in how.layers)


def learned_in_layer(how: Setting, learns: Learns) -> float:
    numbers = _norm_numbers(how) if learns.norms else 0
    numbers += how.model.bias_numbers if learns.attention else 0
    for matrix in how.model.matrices.values():
        numbers += matrix.numbers if getattr(learns, matrix.part) else 0
    return how.precision.learned * numbers + ADAPTER * adapter_numbers(how)


def optimiser_bytes(how: Setting) -> float:
    """Two moments of each number that learns, in 32 or 8 bits, and of a number in half precision
    the lower half. See `finetune.low_memory_adamw`."""
    adapters = how.shape.num_hidden_layers * adapter_numbers(how)
    halves = 0.0
    if how.precision.learned == BFLOAT16:
        halves = (learned_bytes(how) - ADAPTER * adapters) / BFLOAT16
    moments = 2 * (1 + FLOAT32 / _BLOCK) if how.finetune.optimiser == "adamw_8bit" else 2 * FLOAT32
    wide = (learned_bytes(how) - BFLOAT16 * halves) / FLOAT32
    return moments * (wide + halves) + BFLOAT16 * halves


def optimiser_hump(how: Setting) -> float:
    """What an update makes on its way, of the largest tensor or of a slab of it."""
    eight_bits = how.finetune.optimiser == "adamw_8bit"
    if not eight_bits and how.precision.learned == FLOAT32:
        return 0.0  # torch's own, in place
    largest = [m.numbers for m in how.model.matrices.values()]
    largest += [how.model.vocabulary_numbers] if how.embeddings_learn else []
    return (28.0 if eight_bits else 20.0) * min(_SLABS[how.device], max(largest))


def adapter_numbers(how: Setting) -> int:
    """Of one layer's low-rank matrices, and of DoRA's magnitudes."""
    adapted = [m for name, m in how.model.matrices.items() if how.adapted(name)]
    low_rank = sum(how.student.lora_rank * (m.inputs + m.outputs) for m in adapted)
    return low_rank + (sum(m.outputs for m in adapted) if how.dora else 0)


def _frozen_in_layer(how: Setting, learns: Learns) -> float:
    size = how.precision.frozen
    total = 0.0 if learns.norms else float(size * _norm_numbers(how))
    total += 0 if learns.attention else size * how.model.bias_numbers
    for matrix in how.model.matrices.values():
        if not getattr(learns, matrix.part):
            total += _matrix_bytes(how) * matrix.numbers
            total += size * matrix.outputs if how.student.bits == 8 else 0  # a scale a row
    return total


def _matrix_bytes(how: Setting) -> float:
    """A number of a frozen matrix."""
    return how.precision.frozen if how.student.bits == 16 else FROZEN_BYTES[how.student.bits]


def _norm_numbers(how: Setting) -> int:
    """Norms over heads have one weight for all heads."""
    return sum(norm.size // norm.heads for norm in how.model.norms)
