"""One decoder layer of transformers: what autograd keeps of it until the backward pass, and what it
needs on the way. Bytes a token, unless it says otherwise.

What is kept follows from the derivative of each operation:

RMSNorm    its input in float32 and one root mean square; the normalised states, for the gradient
           of the weight
matrix     its input, if the matrix learns or has an adapter; autocast casts the input anew for each
           matrix, so three that read the same states keep three copies
LoRA       the input of A in A's precision, and A's output; with dropout a mask besides
DoRA       what base and adapter gave, which the magnitudes multiply
attention  queries and keys after the rotation, values, output, one log-sum-exp a head
           (FlashAttention, Dao et al. 2022); capped attention its scores
gated MLP  gate, act(gate), up, and their product, which the last matrix reads
"""

from __future__ import annotations

from mwalimu.finetune.footprint.model import FLOAT32, Matrix, Model
from mwalimu.finetune.footprint.setting import ADAPTER, Learns, Setting
from mwalimu.finetune.footprint.weights import adapter_numbers

SCORES_PASSING = 2 * FLOAT32  # a score of capped attention before and after each operation


def kept(how: Setting, learns: Learns, *, first: bool = False, last: bool = False) -> float:
    """Bytes, of all tokens of a pass.

    `first`: no gradient is wanted of what comes into the layer, as over frozen embeddings. `last`:
    where the last layer's MLP runs on target tokens alone (`objectives.trimming`).
    """
    mlp = how.targets if last and how.trims else how.places
    attention = _in_attention(how, learns) - (_spared_by_first(how) if first else 0.0)
    return how.places * attention + mlp * _in_mlp(how, learns) + kept_weights(how, learns)


def _in_attention(how: Setting, learns: Learns) -> float:
    """With all norms of the layer."""
    reads = [name for name in how.model.matrices if name in _READ_BY_ATTENTION]
    return (
        _norms(how, learns)
        + _inputs(how, learns, reads, _read_size(how, learns))
        + _attention(how)
        + _inputs(how, learns, ["o_proj"], how.precision.compute, held=how.output_held)
    )


def _in_mlp(how: Setting, learns: Learns) -> float:
    gates = [name for name in how.model.matrices if name in _READ_BY_MLP]
    return (
        _inputs(how, learns, gates, _read_size(how, learns))
        + 3 * how.precision.compute * how.model.inner
        + _inputs(how, learns, ["down_proj"], how.precision.compute)
    )


_READ_BY_ATTENTION = {"q_proj", "k_proj", "v_proj", "qkv_proj"}
_READ_BY_MLP = {"gate_proj", "up_proj", "gate_up_proj"}


def _read_size(how: Setting, learns: Learns) -> int:
    """What a norm hands out: Llama's multiply by a weight of its own precision."""
    size = how.precision
    widens = learns.norms and not how.model.wide_norms
    return max(size.stream, size.learned) if widens else size.stream


def kept_weights(how: Setting, learns: Learns) -> float:
    """Bytes, whatever the number of tokens: copies in half precision that autocast makes of weights
    that learn, and what DoRA makes of its magnitudes and of the base."""
    total = _of_dora(how) if how.dora else 0.0
    if how.precision.autocast:
        learned = [m.numbers for m in how.model.matrices.values() if getattr(learns, m.part)]
        total += how.precision.compute * (adapter_numbers(how) + sum(learned))
    return total


def _of_dora(how: Setting) -> float:
    """Norms, magnitudes over norms, and the same less 1. With dropout it multiplies what was
    dropped by the base once more, and keeps the base in the precision in which it does so."""
    size = how.precision
    adapted = [m for name, m in how.model.matrices.items() if how.adapted(name)]
    total = 3 * ADAPTER * sum(matrix.outputs for matrix in adapted)
    reads = size.compute if size.autocast else ADAPTER
    itself = reads == size.frozen and not size.autocast
    if how.student.lora_dropout and not itself:
        total += reads * sum(matrix.numbers for matrix in adapted)
    return float(total)


def forward_hump(model: Model, longest: int) -> float:
    """The most that is alive while a layer runs, beside what it keeps; T is `longest`."""
    compute, stream = model.precision.compute, model.precision.stream
    residual = 2 * stream * model.hidden
    mlp = 3 * compute * model.inner
    rotated = 3 * max(compute, stream) * model.queries
    attention = compute * (model.queries + 2 * model.keys) + rotated
    if model.capped:
        attention += SCORES_PASSING * model.heads * longest
    return residual + max(mlp, attention)


def backward_hump(how: Setting, mlp: int) -> float:
    """Bytes: the most that is alive beyond what is kept, where the backward pass enters a layer
    whose MLP ran on `mlp` tokens: gradients of the residual stream, and those in the MLP."""
    model, size = how.model, how.precision
    residual = size.stream * model.hidden
    casts = size.compute * model.hidden if size.compute != size.stream else 0
    # The gradient of gate * up makes two more, once the product is gone; under an adapter the
    # gradients of base and adapter come together before that.
    in_mlp = mlp * (casts + (2 * FLOAT32 if how.student.adapts else 2 * size.compute) * model.inner)
    in_norm = how.places * 4 * FLOAT32 * model.hidden
    in_scores = 0.0
    if model.capped:
        scores = how.places * SCORES_PASSING * model.heads * how.lengths.longest
        in_scores = scores - mlp * _in_mlp(how, how.layers[-1])  # which is gone by then
    return how.places * residual + max(in_mlp, in_norm, in_scores)


def matrix_hump(how: Setting) -> float:
    """Bytes that one matrix needs on its way, whatever the number of tokens; the largest.

    A quantised matrix is made plain for each use. DoRA makes B A out of the identity, adds it to
    the base in the adapter's precision, and takes norms.
    """
    size, most = how.precision, 0.0
    for name, matrix in how.model.matrices.items():
        need = size.frozen * matrix.numbers if how.student.bits < 16 else 0
        if how.dora and how.adapted(name):
            identity = matrix.inputs**2
            need += ADAPTER * (identity + 3 * matrix.numbers)
            need += size.compute * (identity + matrix.numbers) if size.autocast else 0
            need += ADAPTER * matrix.numbers if size.frozen != ADAPTER else 0
        most = max(most, need)
    return most


def largest_gradient(how: Setting, learns: Learns) -> float:
    """Bytes of that of one matrix, new until it is added to the one before."""
    learned = [m.numbers for m in how.model.matrices.values() if getattr(learns, m.part)]
    return how.precision.learned * max(learned, default=0)


def _norms(how: Setting, learns: Learns) -> float:
    total = 0
    for norm in how.model.norms:
        total += FLOAT32 * (norm.size + norm.heads)
        if learns.norms:
            total += (FLOAT32 if how.model.wide_norms else norm.arrives) * norm.size
    return total


def _attention(how: Setting) -> float:
    model, compute = how.model, how.precision.compute
    if model.capped:  # keys and values are repeated for every head; two kinds of scores
        scores = 2 * FLOAT32 * model.heads * how.lengths.longest
        return 3 * compute * model.queries + scores
    # Phi's values are a part of the fused product, and keep all of it.
    values = model.queries + 2 * model.keys if model.fused else model.keys
    return compute * (2 * model.queries + model.keys + values) + FLOAT32 * model.heads


def _inputs(
    how: Setting, learns: Learns, names: list[str], arrives: int, *, held: bool = False
) -> float:
    """Of the matrices `names`, which read the same states of `arrives` bytes a number.

    `held`: something else keeps those states already.
    """
    matrices = [how.model.matrices[name] for name in names]
    adapted = [m for name, m in zip(names, matrices, strict=True) if how.adapted(name)]
    if adapted:
        return _adapter_inputs(how, adapted, arrives, held=held)
    learned = [m for m in matrices if getattr(learns, m.part)]
    if not learned:
        return 0.0
    compute = how.precision.compute
    copies = len(learned) if arrives != compute else 0 if held else 1
    return float(compute * copies * matrices[0].inputs)


def _adapter_inputs(how: Setting, adapted: list[Matrix], arrives: int, *, held: bool) -> float:
    size, width = how.precision, adapted[0].inputs
    reads = size.compute if size.autocast else ADAPTER
    copies = len(adapted)
    if not how.student.lora_dropout and not size.autocast and arrives == ADAPTER:
        copies = 0 if held else 1  # the states themselves
    total = reads * copies * width + reads * how.student.lora_rank * len(adapted)
    if how.student.lora_dropout:
        total += _mask_bytes(how) * width * len(adapted)
    if how.dora:
        of_base = reads if how.student.lora_dropout else size.compute
        total += sum((of_base + reads) * matrix.outputs for matrix in adapted)
    return float(total)


def _spared_by_first(how: Setting) -> float:
    """What the first norm keeps for the gradient of its input, and masks of dropout behind it."""
    reads = [name for name in how.model.matrices if name in _READ_BY_ATTENTION]
    masks = sum(map(how.adapted, reads)) if how.student.lora_dropout else 0
    return FLOAT32 * (how.model.hidden + 1) + masks * _mask_bytes(how) * how.model.hidden


def _mask_bytes(how: Setting) -> int:
    """Of dropout: a CPU keeps what it multiplied with."""
    return 1 if how.device == "cuda" else ADAPTER
