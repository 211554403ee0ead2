"""A submission -> what a job is to do, or why not. Reads the rows of the store, changes nothing.

No path from a stranger is followed: what a config names are datasets and models of the workspace,
texts of the submission itself, names of the registry and hub ids. `fields` holds the rules, one a
field.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from mwalimu.config import Config, TeacherConfig, build_config
from mwalimu.config.loading import config_error
from mwalimu.config.section import Section
from mwalimu.data.record import Json
from mwalimu.errors import ConfigError
from mwalimu.jobs.admission.addresses import is_inner, is_within
from mwalimu.jobs.admission.fields import Refusal, admitted
from mwalimu.jobs.given import Texts, folder_of
from mwalimu.jobs.records import RegisteredDataset, RegisteredModel, Spec
from mwalimu.jobs.refusals import NotFound
from mwalimu.jobs.submission import Submission
from mwalimu.jobs.webhooks.target import BadTarget, is_allowed, may_be_public, parsed
from mwalimu.jobs.workspace import NAME, Workspace, plain_name

MAX_DEPTH = 12
MAX_VALUES = 20_000
MAX_TEXT = 100_000  # characters
MAX_NUMBER = 2.0**53
_REFERENCE = re.compile(
    rf"(?P<kind>dataset|model):(?P<name>{NAME.pattern})(?:@(?P<version>[1-9][0-9]{{0,8}}))?"
)
T = TypeVar("T")


@dataclass(slots=True)
class Shelf:
    """The workspace as a config names it; `urls` and `webhook_hosts` are those that its
    owner allows, `resources` the kinds of slots there are, `uses` the versions that were asked for.
    `files` came with the submission; those that its config names are `given`, to be `put`.
    """

    workspace: Workspace
    find_dataset: Callable[[str, int | None], RegisteredDataset]
    find_model: Callable[[str, int | None], RegisteredModel]
    urls: tuple[str, ...] = ()
    webhook_hosts: tuple[str, ...] = ()
    resources: tuple[str, ...] = ("cpu",)
    uses: list[str] = field(default_factory=list)
    files: Mapping[str, str | Texts] = field(default_factory=dict)
    given: list[Texts] = field(default_factory=list)

    def require_resource(self, resource: str) -> None:
        """Raises ConfigError where a job would wait for ever."""
        if resource not in self.resources:
            fix = f"take {' or '.join(self.resources)}"
            raise ConfigError("is no kind of slot of this service", where="resource", fix=fix)

    def holds(self, name: str) -> bool:
        return os.path.exists(name) or os.path.exists(self.workspace.root / name)

    def dataset(self, reference: str) -> Path:
        """Raises Refusal."""
        name, version = _named("dataset", reference)
        found = _found(self.find_dataset, name, version)
        self.uses.append(f"dataset:{name}@{found.version}")
        return self.workspace.root.absolute() / found.file

    def model(self, reference: str) -> Path:
        """Raises Refusal."""
        name, version = _named("model", reference)
        found = _found(self.find_model, name, version)
        self.uses.append(f"model:{name}@{found.version}")
        return self.workspace.root.absolute() / found.folder

    def file(self, name: str) -> Path:
        """Raises Refusal."""
        text = self.files.get(name)
        if not isinstance(text, str):
            raise Refusal(f"no text of `files` is called {name[:80]!r}", "add it, or mend the name")
        return self._given({name: text}) / name

    def folder(self, name: str) -> Path:
        """Raises Refusal."""
        texts = self.files.get(name)
        if texts is None or isinstance(texts, str):
            raise Refusal(f"no folder of `files` is called {name[:80]!r}", "give texts by name")
        return self._given(texts)

    def _given(self, texts: Texts) -> Path:
        self.given.append(texts)
        return folder_of(self.workspace, texts)


def admit(submission: Submission, shelf: Shelf) -> Spec:
    """The job that a submission of a distillation means, every default in its config written out.

    Raises:
        ConfigError: names the key of `config` that is not valid, or that a stranger may not set.
    """
    if submission.kind != "distillation":
        fix = "use POST /v1/models/{model}/evaluate"
        raise ConfigError("cannot be submitted so", where="kind", fix=fix)
    shelf.require_resource(submission.resource)
    require_bounded(submission.config)
    shelf.files = submission.files
    try:
        asked = Config.model_validate(submission.config)
    except ValidationError as error:
        raise config_error(error, "config", Config) from None
    taken: Config = admitted(asked, shelf)
    plain = taken.model_dump(mode="json", exclude_unset=True)
    whole = build_config(plain, base=shelf.workspace.nowhere)
    _require_allowed(whole, shelf.urls)
    registers = submission.registers
    return Spec(
        kind=submission.kind,
        config=whole.model_dump(mode="json"),
        display_name=submission.display_name,
        experiment_name=submission.experiment_name,
        tags=dict(submission.tags),
        priority=submission.priority,
        resource=submission.resource,
        registers=names_of(asked.student.model) if registers is None else registers,
        webhook=_webhook(submission.webhook, shelf),
        uses=tuple(dict.fromkeys(shelf.uses)),
    )


def admit_evaluation(
    model: str,
    version: int | None,
    dataset: str,
    metrics: Sequence[str],
    resource: str,
    shelf: Shelf,
) -> Spec:
    """The job that asks a registered model the rows of a dataset, NAME or NAME@VERSION.

    Raises ConfigError for a metric that is none, or where there is no such dataset or model.
    """
    from mwalimu.jobs.workers.evaluation import checked_metrics

    shelf.require_resource(resource)
    asked = checked_metrics(metrics)
    try:
        shelf.model(f"model:{model}" if version is None else f"model:{model}@{version}")
        test = shelf.dataset(f"dataset:{dataset.removeprefix('dataset:')}")
    except Refusal as refusal:
        what, fix = refusal.args
        raise ConfigError(what, where="model or dataset", fix=fix) from None
    number = int(shelf.uses[0].rpartition("@")[2])
    config = {"model": model, "version": number, "test": str(test), "metrics": list(asked)}
    return Spec(kind="evaluation", config=config, resource=resource, uses=tuple(shelf.uses))


def names_of(student: str) -> tuple[str, str]:
    """What the models are registered as where nobody says: after the student."""
    reference = _REFERENCE.fullmatch(student)
    text = reference["name"] if reference else student.rpartition("/")[2]
    plain = plain_name(text)
    return f"{plain}-distilled", f"{plain}-baseline"


def _require_allowed(section: Section, urls: tuple[str, ...], key: str = "") -> None:
    """The registry also has the usual ports of servers on one's own machine: here those are the
    machine of the service, and its owner says which a stranger may call.

    Raises ConfigError.
    """
    from mwalimu.registry.catalogue import catalogue

    if isinstance(section, TeacherConfig) and section.base_url is not None:
        usual = {host.base_url for host in catalogue().hosts.values()}
        url = section.base_url
        if url in usual and is_inner(url) and not is_within(url, urls):
            fix = "ask the service's owner to allow it, or take another route"
            raise ConfigError(f"{url} is not allowed here", where=f"{key}base_url", fix=fix)
    for name in type(section).model_fields:
        value = getattr(section, name)
        several = enumerate(value) if isinstance(value, tuple) else [("", value)]
        for number, item in several:
            if isinstance(item, Section):
                _require_allowed(item, urls, f"{key}{name}.{number}".rstrip(".") + ".")


def _webhook(url: str | None, shelf: Shelf) -> str | None:
    """Of a name only the sender can tell where it leads; of an address this can.

    Raises ConfigError.
    """
    if url is None:
        return None
    target = parsed(url, shelf.webhook_hosts)
    if not (may_be_public(target.host) or is_allowed(target, shelf.webhook_hosts)):
        raise BadTarget("is no public address", where="webhook", fix="name a public host")
    return url


def require_bounded(config: Json) -> None:
    """Raises ConfigError for what is too deep, too much, or no value that can be kept."""
    left = MAX_VALUES
    waiting: list[tuple[Any, int, str]] = [(config, 0, "config")]
    while waiting:
        value, depth, where = waiting.pop()
        left -= 1
        if left < 0:
            raise ConfigError(f"holds more than {MAX_VALUES} values", where="config")
        if depth > MAX_DEPTH:
            raise ConfigError(f"is nested more than {MAX_DEPTH} deep", where=where)
        if isinstance(value, dict):
            waiting += [(key, depth, where) for key in value]
            waiting += [(v, depth + 1, f"{where}.{key}"[:200]) for key, v in value.items()]
        elif isinstance(value, list):
            waiting += [(item, depth + 1, f"{where}.{i}") for i, item in enumerate(value)]
        elif problem := _problem(value):
            raise ConfigError(problem, where=where)


def _problem(value: Any) -> str:
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            return f"has more than {MAX_TEXT} characters"
        broken = "\0" in value or any("\ud800" <= character <= "\udfff" for character in value)
        return "holds a character that is none" if broken else ""
    if isinstance(value, int | float) and not abs(value) <= MAX_NUMBER:
        return "is no number, or too large a one"
    return ""


def _found(find: Callable[[str, int | None], T], name: str, version: int | None) -> T:
    try:
        return find(name, version)
    except NotFound as error:
        raise Refusal(f"{error.what}: {error.where}", "see what there is, or make it") from None


def _named(kind: str, reference: str) -> tuple[str, int | None]:
    found = _REFERENCE.fullmatch(reference)
    if found is None or found["kind"] != kind:
        raise Refusal(f"is no {kind}", f"write {kind}:NAME or {kind}:NAME@VERSION")
    return found["name"], int(found["version"]) if found["version"] else None
