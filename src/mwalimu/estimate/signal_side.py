"""What the cache of the teacher's distribution will take on the disk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mwalimu.config import Config, learns_from_teacher, needed_signals, teacher_layers
from mwalimu.estimate.models_here import config_of, known_shape
from mwalimu.estimate.spans import Span
from mwalimu.signals import (
    DenseEncoding,
    Encoding,
    HiddenEncoding,
    RealisedEncoding,
    SampledEncoding,
    TopKEncoding,
)

# Of the entries that a token can have, those that it has. With it 12 draws are 8 bytes a token and
# the 16 best 16: measured were 7 to 10 and 20 (docs/log.md, "what a cached distribution is worth").
USUAL_SHARE = 0.2
LARGE = 200_000  # where it is not known; an entry of any of today's vocabularies is as wide


@dataclass(frozen=True, slots=True)
class Kept:
    """`bytes` are of all answers, without the few that name each row; None where the teacher's
    vocabulary or size is not known here. The low end is of a teacher that is sure of every token,
    the high end of one that knows nothing.
    """

    encoding: str
    bytes: Span | None


def signal_side(config: Config, tokens: Span) -> tuple[Kept, ...]:
    """`tokens` are those of the answers; nothing where the student learns from text alone.

    An objective that is left open takes the best tokens where the teacher tells them.
    """
    if config.finetune.objective and not learns_from_teacher(config.finetune.objective):
        return ()
    names = needed_signals(config) or _if_open(config)
    return tuple(_kept(config, "topk" if name == "auto" else name, tokens) for name in names)


def _if_open(config: Config) -> tuple[str, ...]:
    if config.finetune.objective or config.finetune.teacher == "live":
        return ()
    teacher = config.teacher
    tells = teacher.resolved_kind in ("local", "vllm") or bool(teacher.top_logprobs)
    return ("topk",) if tells else ()


def _kept(config: Config, name: str, tokens: Span) -> Kept:
    encoding = _encoding(config, name)
    return Kept(name, None if encoding is None else tokens * bytes_a_token(encoding))


def _encoding(config: Config, name: str) -> Encoding | None:
    settings, shape = config.signals, known_shape(config.teacher.model)
    vocabulary = settings.vocabulary or (shape.vocab_size if shape else None)
    if name == "realised":
        return RealisedEncoding()
    if name == "sampled":
        return SampledEncoding(vocabulary or LARGE, settings.draws)
    if name == "topk":
        return TopKEncoding(vocabulary or LARGE, settings.k, settings.top_p)
    if name == "dense":
        return DenseEncoding(vocabulary) if vocabulary else None
    return _hidden(config)


def _hidden(config: Config) -> Encoding | None:
    hidden = config_of(config.teacher.model).get("hidden_size")
    layers = teacher_layers(config.finetune.objective, "hidden")
    if not hidden or not layers:
        return None
    return HiddenEncoding(layers, int(hidden), config.signals.hidden_dtype)


def bytes_a_token(encoding: Encoding) -> Span:
    """From the arrays of a shard: those of a token, and those of its 1 to all entries."""
    own, entry = 0.0, 0.0
    for field in encoding.fields():
        size = float(np.dtype(field.dtype).itemsize * np.prod(field.width, dtype=np.int64))
        own, entry = (own, entry + size) if field.per == "entry" else (own + size, entry)
    most = max(_entries(encoding), 1)
    usual = max(1.0, USUAL_SHARE * most)
    return Span(own + entry * usual, own + entry, own + entry * most)


def _entries(encoding: Encoding) -> int:
    if isinstance(encoding, TopKEncoding):
        return encoding.k
    return encoding.draws if isinstance(encoding, SampledEncoding) else 0
