"""The objective of a job, chosen where it is `auto` and checked before anything runs.

The strongest objective that teacher and student allow is one on the teacher's distribution, token
by token, if their tokens are the same; on the likelihoods of pieces of text if they are not; and on
the teacher's text alone if that is all it gives. What cannot work is refused here, by name, rather
than after stage 1 has been paid for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from mwalimu.config import DIVERGENCES, Config, PartConfig, Schedule, learns_from_teacher
from mwalimu.config.needs import LIVE_ONLY
from mwalimu.data.loading import CannotLoad, load_tokenizer
from mwalimu.data.vocabulary import Comparison, compare
from mwalimu.errors import ConfigError

PROBE_TEXTS = (
    "The 3 quick brown foxes don't cost $1,234.56!\n\n\tdef f(x): return x**2  # naïve café",
    "Habari ya asubuhi? 你好 世界 🙂 Größe Ωμέγα",
)
LOCAL = ("local", "vllm")
LAYERS = ("hidden", "attention")


class Choice(NamedTuple):
    """`config` has nothing left at auto; `why` says what was chosen and for what reason."""

    config: Config
    why: str


def choose(config: Config) -> Choice:
    """Reads the tokenizers of teacher and student where the choice depends on them.

    Raises:
        ConfigError: the objective asks for what this teacher and this student cannot give.
    """
    asked = config.finetune.objective
    if asked and not any(part.kind in DIVERGENCES for part in asked) and config.finetune.on_policy:
        raise ConfigError(
            "there is no divergence in the objective for the student's own answers",
            where="finetune.on_policy",
            fix="drop it, or add forward_kl, reverse_kl or jsd to finetune.objective",
        )
    if asked and not learns_from_teacher(asked):
        return _chosen(config, asked, "the teacher's answers as text, as asked")
    reason = _text_alone(config)
    if reason and config.finetune.on_policy:
        raise _no_on_policy(reason)
    if reason:
        if asked:
            raise ConfigError(
                f"{asked[0].kind} needs more than text of the teacher, and {reason}",
                where="finetune.objective",
                fix="use cross_entropy, or auto",
            )
        return _chosen(config, (PartConfig(kind="cross_entropy"),), f"text alone: {reason}")
    match = _compare(config)
    if config.finetune.on_policy and not match.same:
        raise _no_on_policy(f"its tokens are not the student's ({match.reason})")
    if asked:
        return _asked(config, asked, match)
    if match.same:
        parts = (PartConfig(kind="forward_kl"),)
        what = "the teacher's distribution, token by token"
        return _chosen(config, parts, f"{what}: {match.common:,} ids mean the same to both")
    both = (PartConfig(kind="chunk_likelihood"), PartConfig(kind="cross_entropy"))
    what = "the teacher's text and its likelihoods of the text's pieces"
    return _chosen(config, both, f"{what}: its tokens are not the student's ({match.reason})")


def _no_on_policy(reason: str) -> ConfigError:
    return ConfigError(
        f"the teacher cannot score what the student writes: {reason}",
        where="finetune.on_policy",
        fix="drop it, or use a local teacher of the student's family",
    )


def _text_alone(config: Config) -> str:
    """Why there is nothing but text to learn from; empty where there is more."""
    kind = config.teacher.resolved_kind
    if config.ensemble is not None:
        return "the answers come from several teachers"
    if config.generate.rationale == "mix" and config.generate.chain_of_thought:
        return "the answers hold reasoning that the teacher's own prompt asked for"
    if kind in LOCAL:
        return ""
    if kind == "fake":
        return "the fake teacher has no distribution"
    if not config.teacher.top_logprobs:
        return f"a teacher of kind {kind} gives none without teacher.top_logprobs"
    if config.teacher.tokenizer is None:
        return "a served teacher's tokens are known only with teacher.tokenizer"
    return ""


def _compare(config: Config) -> Comparison:
    name = config.teacher.tokenizer or config.teacher.model
    teacher = _tokenizer(name, "teacher.tokenizer" if config.teacher.tokenizer else "teacher.model")
    return compare(teacher, _tokenizer(config.student.model, "student.model"), PROBE_TEXTS)


def _tokenizer(name: str, where: str) -> Any:
    try:
        return load_tokenizer(name)
    except CannotLoad as error:
        raise ConfigError(
            f"the tokenizer of {name} cannot be read ({error})",
            where=where,
            fix="name a transformers folder or a hub id",
        ) from None


def _asked(config: Config, parts: Sequence[PartConfig], match: Comparison) -> Choice:
    parts = [_with_layers(config, part) for part in parts]
    by_token = [part.kind for part in parts if part.kind in (*DIVERGENCES, *LAYERS)]
    if by_token and not match.same:
        raise ConfigError(
            f"{by_token[0]} compares token by token, and teacher and student differ: "
            f"{match.reason}",
            where="finetune.objective",
            fix="use chunk_likelihood, or auto",
        )
    live = [part.kind for part in parts if part.kind in LIVE_ONLY]
    served = config.teacher.resolved_kind != "local"
    if served and (live or config.finetune.on_policy or config.finetune.teacher == "live"):
        raise ConfigError(
            f"{live[0] if live else 'a live teacher'} needs the teacher's weights on this machine",
            where="finetune.objective" if live else "finetune.teacher",
            fix="use a local teacher, or another objective",
        )
    return _chosen(config, tuple(parts), "as asked")


def _with_layers(config: Config, part: PartConfig) -> PartConfig:
    """Its layer pairs written out, by the depths of both models."""
    if part.kind not in LAYERS:
        return part
    from mwalimu.objectives.layers import map_layers

    teacher, student = _depth(config.teacher.model), _depth(config.student.model)
    wanted = part.pairs if part.layers == "uniform" and part.pairs else part.layers
    pairs = map_layers(wanted, student, teacher)
    return part.model_copy(update={"layers": tuple(map(tuple, pairs)), "pairs": None})


def _depth(name: str) -> int:
    from transformers import AutoConfig

    try:
        return int(AutoConfig.from_pretrained(name).get_text_config().num_hidden_layers)
    except (OSError, ValueError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"its layers cannot be counted ({reason})", where=name) from None


def _chosen(config: Config, parts: Sequence[PartConfig], why: str) -> Choice:
    teacher = _teacher_for(config, parts)
    encoding = _encoding_for(config, parts, teacher)
    finetune = config.finetune.model_copy(update={"objective": tuple(parts), "teacher": teacher})
    signals = config.signals.model_copy(update={"encoding": encoding})
    names = " + ".join(part.kind for part in parts)
    return Choice(
        config.model_copy(update={"finetune": finetune, "signals": signals}), f"{names}: {why}"
    )


def _teacher_for(config: Config, parts: Sequence[PartConfig]) -> str:
    """cached or live; what only a live teacher can do contradicts cached."""
    wanted = config.finetune.teacher
    reasons = [f"{part.kind} keeps no cache" for part in parts if part.kind in LIVE_ONLY]
    varying = [p for p in parts if p.kind in DIVERGENCES and isinstance(p.temperature, Schedule)]
    if varying and config.signals.encoding != "dense":
        reasons.append("a temperature that changes needs the whole distribution")
    if wanted == "cached" and reasons:
        raise ConfigError(
            f"cannot be cached: {reasons[0]}", where="finetune.teacher", fix="set it to live"
        )
    return "live" if reasons or wanted == "live" else "cached"


def _encoding_for(config: Config, parts: Sequence[PartConfig], teacher: str) -> str:
    """The distribution's encoding: draws for the forward KL, the best tokens for all others."""
    divergences = [part for part in parts if part.kind in DIVERGENCES]
    linear = all(part.kind == "forward_kl" for part in divergences)
    wanted = config.signals.encoding
    served = config.teacher.resolved_kind not in LOCAL
    if wanted == "auto":
        return "sampled" if linear and not served else "topk"
    if not divergences or teacher == "live":
        return wanted
    if wanted not in ("sampled", "topk", "dense"):
        raise ConfigError(
            f"{wanted} holds no distribution over tokens",
            where="signals.encoding",
            fix="use sampled, topk or dense, or auto",
        )
    if wanted == "sampled" and not linear:
        kinds = next(part.kind for part in divergences if part.kind != "forward_kl")
        raise ConfigError(
            f"draws give no unbiased {kinds}, which is not linear in the teacher's probabilities",
            where="signals.encoding",
            fix="use topk or dense, or the forward_kl",
        )
    if served and wanted != "topk":
        raise ConfigError(
            f"a served teacher reports its best tokens, not {wanted}",
            where="signals.encoding",
            fix="use topk, or auto",
        )
    if wanted != "dense" and len({part.temperature for part in divergences}) > 1:
        raise ConfigError(
            f"{wanted} signals are captured at one temperature, the objective has several",
            where="finetune.objective",
            fix="use one temperature, or signals.encoding dense",
        )
    return wanted
