"""The objective of a job, chosen where it is `auto` and checked before anything runs.

The strongest objective that teacher and student allow is one on the teacher's distribution, token
by token, if their tokens are the same; on the likelihoods of pieces of text if they are not; and on
the teacher's text alone if that is all it gives. What cannot work is refused here, by name, rather
than after stage 1 has been paid for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from mwalimu.config import (
    DIVERGENCES,
    Config,
    PartConfig,
    Schedule,
    goes_by_row,
    learns_from_teacher,
)
from mwalimu.config.needs import LIVE_ONLY
from mwalimu.data.loading import CannotLoad, load_tokenizer
from mwalimu.data.tokenize import end_of_turn_id, prepare_tokenizer
from mwalimu.data.vocabulary import Comparison, compare
from mwalimu.errors import ConfigError, MwalimuError, StudentError, UnknownTeacherModel

PROBE_TEXTS = (
    "The 3 quick brown foxes don't cost $1,234.56!\n\n\tdef f(x): return x**2  # naïve café",
    "Habari ya asubuhi? 你好 世界 🙂 Größe Ωμέγα",
)
LOCAL = ("local", "vllm")
LAYERS = ("hidden", "attention")
PIECES = ("chunk_likelihood", "optimal_transport")
CROSS_ENTROPY = "cross_entropy"
SERVED_K = 20  # what vLLM reports a token unless it is started with a higher --max-logprobs


class Choice(NamedTuple):
    """`config` has nothing left at auto; `why` says what was chosen and for what reason."""

    config: Config
    why: str


def choose(config: Config) -> Choice:
    """Reads the tokenizers of teacher and student where the choice depends on them.

    Raises:
        ConfigError: the objective asks for what this teacher and this student cannot give.
        UnknownTeacherModel, StudentError: a tokenizer cannot be read.
        StudentError, MissingDependency: there can be no such student.
    """
    asked = config.finetune.objective
    if config.student.names_parts or config.student.bits < 16:  # else stage 1 needs no torch
        from mwalimu.finetune.student.checks import check_student

        check_student(config.student)
    _check_scoring(config)
    _check_per_sample(asked)
    if asked and not any(part.kind in DIVERGENCES for part in asked) and config.finetune.on_policy:
        raise ConfigError(
            "there is no divergence in the objective for the student's own answers",
            where="finetune.on_policy",
            fix="drop it, or add forward_kl, reverse_kl or jsd to finetune.objective",
        )
    pieces = [part.kind for part in asked if part.kind in PIECES]
    if pieces and config.finetune.on_policy:
        raise ConfigError(
            f"{pieces[0]} is about the teacher's answers, and these are the student's own",
            where="finetune.on_policy",
            fix=f"drop one of the two; where tokens are the same, {pieces[0]} adds nothing",
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
        return _chosen(config, (PartConfig(kind=CROSS_ENTROPY),), f"text alone: {reason}")
    match = _compare(config)
    if match.same:
        signals = config.signals.model_copy(update={"vocabulary": match.common})
        config = config.model_copy(update={"signals": signals})
    if config.finetune.on_policy and not match.same:
        raise _no_on_policy(f"its tokens are not the student's ({match.reason})")
    if asked:
        return _asked(config, asked, match)
    if match.same:
        # The answers themselves beside the doubts about them: the better of the two, or as good as
        # it, wherever both were measured (docs/log.md).
        doubts = PartConfig(kind="forward_kl", weight=0.5)
        parts = (doubts, PartConfig(kind="cross_entropy", weight=0.5))
        what = "the teacher's distribution, token by token"
        return _chosen(config, parts, f"{what}: {match.common:,} ids mean the same to both")
    both = (PartConfig(kind="chunk_likelihood"), PartConfig(kind=CROSS_ENTROPY))
    what = "the teacher's text and its likelihoods of the text's pieces"
    return _chosen(config, both, f"{what}: its tokens are not the student's ({match.reason})")


def _no_on_policy(reason: str) -> ConfigError:
    return ConfigError(
        f"the teacher cannot score what the student writes: {reason}",
        where="finetune.on_policy",
        fix="drop it, or use a teacher of the student's family: a local one, or one with scoring",
    )


def check_scores(config: Config) -> None:
    """Before anything is paid for: whether the server that is to score tokens does.

    Raises TeacherUnreachable, TeacherRefusesKey, UnknownTeacherModel, TeacherError.
    """
    if config.teacher.scoring == "none" or not learns_from_teacher(config.finetune.objective):
        return
    from mwalimu.teachers.prompt_scores import ServedScores, probe_ids
    from mwalimu.teachers.tokenizer import tokenizer_of

    probe = probe_ids(tokenizer_of(config.teacher))
    ServedScores(config.teacher, config.signals.k, max(probe) + 1, probe).close()


def _check_scoring(config: Config) -> None:
    if config.teacher.scoring != "none" and config.teacher.resolved_kind != "openai_compatible":
        raise ConfigError(
            f"a teacher of kind {config.teacher.resolved_kind} is no server of this sort",
            where="teacher.scoring",
            fix="drop it, or name the server of vLLM or SGLang in teacher.base_url",
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
    if config.data.privacy == "mask":
        return "data.privacy masks what the teacher reads, and its signals would be of other text"
    if not config.teacher.top_logprobs and config.teacher.scoring == "none":
        return f"a teacher of kind {kind} gives none without teacher.top_logprobs or scoring"
    if config.teacher.tokenizer is None:
        return "a served teacher's tokens are known only with teacher.tokenizer"
    return ""


def _check_per_sample(parts: Sequence[PartConfig]) -> None:
    """By a row's confidence go the losses over the vocabulary, where there is a distribution."""
    known = any(part.kind in DIVERGENCES for part in parts)
    for part in parts:
        by_row = goes_by_row(part.weight) or goes_by_row(part.temperature)
        if by_row and part.kind not in DIVERGENCES and not (part.kind == CROSS_ENTROPY and known):
            raise ConfigError(
                f"a per_sample schedule of {part.kind} has no teacher's distribution to go by",
                where="finetune.objective",
                fix="use linear or cosine, or per_sample on a divergence",
            )


def _compare(config: Config) -> Comparison:
    """Of the tokens, and of those that end a turn: a distribution is about one of the two."""
    teacher, student = _teacher_tokenizer(config), _student_tokenizer(config)
    match = compare(teacher, student, PROBE_TEXTS)
    if not match.same:
        return match
    ends = [_end_of_turn(teacher), _end_of_turn(student)]
    if ends[0] == ends[1]:
        return match
    return Comparison(False, 0, f"the one ends its turn with {ends[0]}, the other with {ends[1]}")


def _end_of_turn(tokenizer: Any) -> str:
    prepare_tokenizer(tokenizer)
    return str(tokenizer.convert_ids_to_tokens(end_of_turn_id(tokenizer)))


def _teacher_tokenizer(config: Config) -> Any:
    """A teacher on this machine brings its own."""
    teacher = config.teacher
    name = teacher.model if teacher.resolved_kind in LOCAL else teacher.tokenizer or teacher.model
    try:
        return load_tokenizer(name)
    except CannotLoad as error:
        raise _unreadable(UnknownTeacherModel, name, error) from None


def _student_tokenizer(config: Config) -> Any:
    name = config.student.model
    try:
        return load_tokenizer(name, trust_remote_code=config.student.trust_remote_code)
    except CannotLoad as error:
        raise _unreadable(StudentError, name, error) from None


def _unreadable(kind: type[MwalimuError], name: str, error: CannotLoad) -> MwalimuError:
    return kind(
        f"its tokenizer cannot be read ({error})",
        where=name,
        fix="name a transformers folder or a hub id",
    )


def _asked(config: Config, parts: Sequence[PartConfig], match: Comparison) -> Choice:
    by_token = [part.kind for part in parts if part.kind in (*DIVERGENCES, *LAYERS)]
    if by_token and not match.same:
        raise ConfigError(
            f"{by_token[0]} compares token by token, and teacher and student differ: "
            f"{match.reason}",
            where="finetune.objective",
            fix="use chunk_likelihood, or auto",
        )
    return _chosen(config, parts, "as asked")


def _check_weights(config: Config, parts: Sequence[PartConfig], teacher: str) -> None:
    """What a server cannot do for us, nor an engine of its own."""
    if config.teacher.resolved_kind == "local":
        return
    inside = [part.kind for part in parts if part.kind in (*LIVE_ONLY, *LAYERS)]
    pieces = [part.kind for part in parts if part.kind in PIECES]
    scored = config.teacher.scoring != "none"
    needs = {
        "finetune.objective": inside[0] if inside else "",
        "finetune.on_policy": "on_policy" if config.finetune.on_policy and not scored else "",
        "finetune.teacher": "a live teacher" if teacher == "live" and not scored else "",
    }
    if teacher == "live" and scored and pieces and not inside:
        needs["finetune.teacher"] = f"a live {pieces[0]}"
    for where, what in needs.items():
        if what:
            raise ConfigError(
                f"{what} needs the teacher's weights on this machine",
                where=where,
                fix="use a teacher of kind local, or another objective",
            )


def _with_layers(config: Config, part: PartConfig) -> PartConfig:
    """Its layer pairs written out, by the depths of both models."""
    if part.kind not in LAYERS:
        return part
    from mwalimu.objectives.layers import map_layers

    teacher = _depth(config.teacher.model)
    prune = config.student.prune
    student = (prune and prune.depth) or _depth(config.student.model)
    wanted = part.pairs if part.layers == "uniform" and part.pairs else part.layers
    try:
        pairs = map_layers(wanted, student, teacher)
    except ConfigError as error:
        raise ConfigError(error.what, where="finetune.objective", fix=error.fix) from None
    return part.model_copy(update={"layers": tuple(map(tuple, pairs)), "pairs": None})


def _depth(name: str) -> int:
    from transformers import AutoConfig

    try:
        return int(AutoConfig.from_pretrained(name).get_text_config().num_hidden_layers)
    except (OSError, ValueError, AttributeError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise ConfigError(
            f"its layers cannot be counted ({lines[0]})",
            where=name,
            fix="name a transformers folder or a hub id",
        ) from None


def _chosen(config: Config, parts: Sequence[PartConfig], why: str) -> Choice:
    teacher = "cached"
    if learns_from_teacher(tuple(parts)):
        teacher = _teacher_for(config, parts)
        _check_weights(config, parts, teacher)
        _check_temperature(config, parts)
        parts = [_with_layers(config, part) for part in parts]
    encoding, k = _encoding_for(config, parts, teacher), config.signals.k
    if config.teacher.scoring != "none" and "k" not in config.signals.model_fields_set:
        k = SERVED_K
    finetune = config.finetune.model_copy(update={"objective": tuple(parts), "teacher": teacher})
    signals = config.signals.model_copy(update={"encoding": encoding, "k": k})
    names = " + ".join(part.kind for part in parts)
    return Choice(
        config.model_copy(update={"finetune": finetune, "signals": signals}), f"{names}: {why}"
    )


def _check_temperature(config: Config, parts: Sequence[PartConfig]) -> None:
    """Log-probabilities of a few tokens cannot be brought to another temperature."""
    warm = [part.kind for part in parts if part.kind in DIVERGENCES and part.temperature != 1]
    if warm and config.teacher.resolved_kind not in LOCAL:
        raise ConfigError(
            f"a server reports its distribution at temperature 1, and {warm[0]} asks for another",
            where="finetune.objective",
            fix="drop its temperature, or use a teacher of kind local",
        )


def _teacher_for(config: Config, parts: Sequence[PartConfig]) -> str:
    """cached or live; what only a live teacher can do contradicts cached."""
    wanted, encoding = config.finetune.teacher, config.signals.encoding
    if wanted == "live":
        return "live"
    reasons = [f"{part.kind} keeps no cache" for part in parts if part.kind in LIVE_ONLY]
    temperatures = {part.temperature for part in parts if part.kind in DIVERGENCES}
    changes = any(isinstance(temperature, Schedule) for temperature in temperatures)
    if not reasons and encoding != "dense" and (changes or len(temperatures) > 1):
        what = "a temperature that changes" if changes else "more than one temperature"
        if encoding != "auto":
            raise ConfigError(
                f"{what} needs the whole distribution, and {encoding} signals are of one",
                where="signals.encoding",
                fix="use dense, or finetune.teacher live",
            )
        reasons.append(f"{what} needs the whole distribution")
    if wanted == "cached" and reasons:
        raise ConfigError(
            f"cannot be cached: {reasons[0]}", where="finetune.teacher", fix="set it to live"
        )
    return "live" if reasons else "cached"


def _encoding_for(config: Config, parts: Sequence[PartConfig], teacher: str) -> str:
    """The distribution's encoding: the best tokens where nothing else is asked for."""
    divergences = [part for part in parts if part.kind in DIVERGENCES]
    linear = all(part.kind == "forward_kl" for part in divergences)
    wanted = config.signals.encoding
    local, vllm = (config.teacher.resolved_kind == kind for kind in LOCAL)
    cached = divergences and teacher == "cached"
    if cached and vllm and any(part.temperature != 1 for part in divergences):
        raise ConfigError(
            "vLLM reports its best tokens at temperature 1, from which no other follows",
            where="finetune.objective",
            fix="use temperature 1, or a teacher of kind local",
        )
    if wanted == "auto":
        return "topk"
    if not cached:
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
    if not local and wanted != "topk":
        raise ConfigError(
            f"{'vLLM' if vllm else 'a served teacher'} reports its best tokens, not {wanted}",
            where="signals.encoding",
            fix="use topk, or auto",
        )
    return wanted
