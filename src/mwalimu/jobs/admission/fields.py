"""What a stranger may write into each text of a config: one rule a field.

A field without a rule that could hold a path or a text is refused as soon as it is set, so that a
new one is closed until somebody has thought about it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, get_origin

from mwalimu.config.section import Section
from mwalimu.errors import ConfigError
from mwalimu.jobs.admission.addresses import is_within

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(?:/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
_ON_THE_WIRE = re.compile(r"[A-Za-z0-9][\w.:@+-]{0,199}(?:/[A-Za-z0-9][\w.:@+-]{0,199})*", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9][\w.-]{0,199}", re.ASCII)

# Of `extra_body`, which is sent as it is and has the last word: nothing that changes the price.
BODY_FIELDS = frozenset(
    {"seed", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty"}
    | {"reasoning_effort", "chat_template_kwargs", "enable_thinking", "response_format"}
)


class Place(Protocol):
    """What names in a config mean here; `urls` are those that the service's owner allows.

    `holds`: whether a file or folder of that name lies where a worker may look.
    """

    urls: tuple[str, ...]

    def holds(self, name: str) -> bool: ...

    def dataset(self, reference: str) -> Path: ...

    def model(self, reference: str) -> Path: ...

    def file(self, name: str) -> Path: ...

    def folder(self, name: str) -> Path: ...


Rule = Callable[[Any, Place, Section], Any]
"""(value, place, the section that it is in) -> the value to take. Raises Refusal."""


class Refusal(Exception):
    """Why, and what to do."""


def admitted(section: Section, place: Place, key: str = "") -> Any:
    """The same section with its references resolved.

    Raises:
        ConfigError: names the key of what is refused.
    """
    changes = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        where = f"{key}.{name}" if key else name
        changes[name] = _field(section, name, value, place, where)
    return section.model_copy(update=_changed(section, changes))


def _changed(section: Section, values: Mapping[str, Any]) -> dict[str, Any]:
    """What was left out stays so."""
    return {name: v for name, v in values.items() if v is not getattr(section, name)}


def _field(section: Section, name: str, value: Any, place: Place, where: str) -> Any:
    if isinstance(value, Section):
        return admitted(value, place, where)
    if isinstance(value, tuple) and any(isinstance(item, Section) for item in value):
        return tuple(
            _field(section, name, item, place, f"{where}.{i}") for i, item in enumerate(value)
        )
    if value == type(section).model_fields[name].get_default(call_default_factory=False):
        return value
    rule = rule_of(type(section), name)
    try:
        return value if rule is None else rule(value, place, section)
    except Refusal as refusal:
        what, fix = refusal.args
        raise ConfigError(what, where=where, fix=fix) from None


def rule_of(section: type[Section], name: str) -> Rule | None:
    """None for what holds numbers, switches and words of a fixed list alone."""
    named = RULES.get(f"{section.__name__}.{name}")
    if named is not None:
        return named
    kinds = set(_leaves(section.model_fields[name].annotation))
    return _closed if kinds & {str, Path, Any, dict, object} else None


def _leaves(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Literal:
        return
    inner = get_args(annotation)
    if not inner:
        yield annotation
    for part in inner:
        yield from _leaves(part)


def _closed(value: Any, place: Place, section: Section) -> Any:
    raise Refusal("cannot be set in a job of the service", "leave it out")


def _free(value: Any, place: Place, section: Section) -> Any:
    return value


def _dataset(value: Path, place: Place, section: Section) -> Path:
    reference = str(value)
    if not reference.startswith("dataset:"):
        raise Refusal("is no dataset of the service", "upload the file, then name it dataset:NAME")
    return place.dataset(reference)


def _schema(value: Path, place: Place, section: Section) -> Path:
    return place.file(_given_name(value, ".json"))


def _yaml(value: Path, place: Place, section: Section) -> Path:
    """Never Python, which would be run."""
    return place.file(_given_name(value, ".yaml", ".yml"))


def _lines(value: Path, place: Place, section: Section) -> Path:
    return place.file(_given_name(value, ".txt", ".jsonl"))


def _folder(value: Path, place: Place, section: Section) -> Path:
    return place.folder(_given_name(value))


def _given_name(value: Path, *suffixes: str) -> str:
    kind, _, name = str(value).partition(":")
    if kind != "file" or "/" in name:
        raise Refusal("is no file of the submission", "put it into `files`, and name it file:NAME")
    if suffixes and not name.endswith(suffixes):
        raise Refusal("is of another kind", f"name it {' or '.join(suffixes)}")
    return name


def _word(value: str, place: Place, section: Section) -> str:
    if not _WORD.fullmatch(value):
        raise Refusal("holds more than letters, digits, dots and hyphens", "mend it")
    return value


def _hub_id(value: str, place: Place, section: Section) -> str:
    return _no_folder(value, place, HUB_ID)


def _model(value: str, place: Place, section: Section) -> str:
    if value.startswith("model:"):
        return str(place.model(value))
    served = getattr(section, "base_url", None) is not None
    return _no_folder(value, place, _ON_THE_WIRE if served or _is_known(value) else HUB_ID)


def _no_folder(value: str, place: Place, pattern: re.Pattern[str]) -> str:
    if not pattern.fullmatch(value) or ".." in value or place.holds(value):
        raise Refusal(
            "is no name of the registry and no hub id",
            "see 'GET /v1/registry', or name a registered model as model:NAME",
        )
    return value


def _is_known(name: str) -> bool:
    from mwalimu.registry.catalogue import catalogue

    return catalogue().find(name) is not None


def _url(value: str, place: Place, section: Section) -> str:
    from mwalimu.registry.catalogue import catalogue

    known = catalogue()
    routes = [route for model in known.models.values() for route in model.routes]
    listed = {one.base_url for one in [*known.hosts.values(), *routes] if one.base_url}
    # Never by the domains that a key is for: anybody may have a resource of their own there.
    return value if value in listed else _own_url(value, place, section)


def _own_url(value: str, place: Place, section: Section) -> str:
    if is_within(value, place.urls):
        return value
    raise Refusal(
        "is no address that this service may call", "ask its owner to allow it, or leave it out"
    )


def _extra_body(value: Mapping[str, Any], place: Place, section: Section) -> Any:
    for name in value:
        if name not in BODY_FIELDS:
            raise Refusal(
                f"{name!r:.60} cannot be sent", f"known here: {', '.join(sorted(BODY_FIELDS))}"
            )
    return value


def _shipped_sets(value: tuple[str, ...], place: Place, section: Section) -> Any:
    from mwalimu.preparation.public_sets import shipped_sets

    if not set(value) <= set(shipped_sets()):
        raise Refusal("names a list that does not ship", f"take {', '.join(shipped_sets())}")
    return value


def _off(value: Any, place: Place, section: Section) -> Any:
    raise Refusal("runs code that is not ours", "leave it out")


def _price(value: Any, place: Place, section: Section) -> Any:
    raise Refusal("the service knows the prices itself", "leave it out; its owner can list them")


def _tracked(value: tuple[str, ...], place: Place, section: Section) -> Any:
    if set(value) - {"tensorboard"}:
        raise Refusal("would send the job's numbers elsewhere", "take tensorboard, or none")
    return value


RULES: Mapping[str, Rule] = {
    **{f"DataConfig.{name}": _dataset for name in ("train", "validation", "test", "labelled")},
    "DataConfig.traffic": _closed,
    "DataConfig.phone_region": _free,
    "PromptsConfig.seeds": _dataset,
    "PromptsConfig.documents": _folder,
    "PromptsConfig.personas": _lines,
    "PromptsConfig.template": _yaml,
    "PromptsConfig.topics": _free,
    "PromptsConfig.system": _free,
    "SelectConfig.scores": _closed,
    "PrepareConfig.public_sets": _shipped_sets,
    "GenerateConfig.json_schema": _schema,
    "CurateConfig.json_schema": _schema,
    "SpecialTokensConfig.extra": _free,
    "RefusalConfig.extra": _free,
    "LabelConfig.known": _free,
    "LanguageConfig.expected": _free,
    "TeacherConfig.model": _model,
    "TeacherConfig.route": _word,
    "TeacherConfig.base_url": _url,
    "TeacherConfig.api_key_env": _closed,
    "TeacherConfig.deployment": _word,
    "TeacherConfig.api_version": _word,
    "TeacherConfig.stop": _free,
    "TeacherConfig.extra_body": _extra_body,
    "TeacherConfig.tokenizer": _hub_id,
    # The answer store is everybody's: nobody gives their teacher another one's name there.
    "TeacherConfig.identity": _closed,
    "TeacherConfig.usd_per_million_input": _price,
    "TeacherConfig.usd_per_million_output": _price,
    "TeacherConfig.usd_per_million_cached": _price,
    "TeacherConfig.batch_factor": _price,
    "StudentConfig.model": _model,
    "StudentConfig.lora_targets": _free,
    "StudentConfig.freeze": _free,
    "StudentConfig.trust_remote_code": _off,
    "FinetuneConfig.track": _tracked,
    "MixtureConfig.by": _free,
    "MixtureConfig.weights": _free,
    "EvaluateConfig.groups": _free,
    "EvaluateConfig.rubric": _free,
    "EvaluateConfig.tasks_file": _yaml,
    "EvaluateConfig.encoder": _closed,
    "LoadConfig.url": _own_url,
    "LoadConfig.model": _word,
    "TargetConfig.scheme": _word,
    # Whose machines a job takes is for the owner of the service to say.
    "ScaleConfig.engine": _closed,
    "ScaleConfig.address": _closed,
    "ScaleConfig.mirror": _closed,
    # A job is one recipe: the service searches none.
    "TuneConfig.budget": _closed,
    "TuneConfig.space": _closed,
    "TuneConfig.students": _closed,
    "MixtureRangeConfig.groups": _closed,
    "MixtureRangeConfig.by": _closed,
    "AutoConfig.budget": _closed,
}
