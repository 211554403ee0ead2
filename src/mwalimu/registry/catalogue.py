"""What is known of models and hosts: types, reading and merging of the YAML files, look-up."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from mwalimu.errors import ConfigError
from mwalimu.registry.reading import known, mapping, read_sections, typed
from mwalimu.registry.shape import Shape

SHIPPED = Path(__file__).with_name("models.yaml")
SHIPPED_STUDENTS = Path(__file__).with_name("students.yaml")
SECTIONS = ("hosts", "licences", "models", "students")
Kind = Literal["openai_compatible", "anthropic", "azure", "vllm", "local"]
T = TypeVar("T", "Model", "Student")

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Price:
    """USD a million tokens, as `source` stated it on `date`.

    A batch costs `batch_factor` of it, None where that is unknown.
    """

    input: float
    output: float
    cached: float | None = None
    date: datetime.date
    source: str
    note: str = ""
    batch_factor: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Licence:
    """`training`: whether the terms let other models learn from the output; `terms` in a clause.

    `derivatives`: what they ask of a model that was made out of the weights.
    """

    name: str
    url: str
    training: Literal["allowed", "conditions", "restricted"]
    terms: str
    derivatives: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Endpoint:
    """An address. `needs` says what the user has to set where there is no `base_url`.

    `domains` are the host names that `api_key_env` is for, `*` standing for one label; if there are
    none, that of `base_url`.
    """

    name: str
    kind: Kind
    base_url: str | None = None
    api_key_env: str | None = None
    top_logprobs: int = 0
    domains: tuple[str, ...] = ()
    needs: str | None = None

    def owns(self, url: str) -> bool:
        """Whether `url` is a place for this key. Never without TLS: anybody may answer there."""
        try:
            place = urlsplit(url)
            if place.scheme != "https" or not place.hostname or place.port not in (None, 443):
                return False
        except ValueError:
            return False
        domains = self.domains or (urlsplit(self.base_url or "").hostname or "",)
        patterns = (re.escape(domain).replace(r"\*", "[^.]+") for domain in domains)
        return any(re.fullmatch(pattern, place.hostname) for pattern in patterns)


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Host(Endpoint):
    """Serves every model that has the key `model_from`, under the name that stands there."""

    batch_factor: float | None = None
    model_from: Literal["weights", "ollama"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Route(Endpoint):
    """One way to a model: `model` is its name on the wire, `snapshots` those of pinned versions.

    `retired` is the day from which the host answers no more.
    """

    model: str
    snapshots: tuple[str, ...] = ()
    price: Price | None = None
    retired: datetime.date | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Model:
    """`context` is in tokens; `weights` is a hub id, None for a closed model."""

    name: str
    family: str
    licence: Licence
    context: int
    routes: tuple[Route, ...]
    aliases: tuple[str, ...] = ()
    weights: str | None = None
    ollama: str | None = None
    note: str = ""

    def names(self) -> Iterator[str]:
        """Everything that means this model, its own name first."""
        yield self.name
        yield from self.aliases
        for route in self.routes:
            yield from (route.model, *route.snapshots)


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Student:
    """A model that is trained here: `weights` is its hub id, `context` is in tokens."""

    name: str
    family: str
    licence: Licence
    context: int
    weights: str
    shape: Shape
    aliases: tuple[str, ...] = ()
    note: str = ""

    def names(self) -> Iterator[str]:
        """Everything that means this student, its own name first."""
        yield self.name
        yield from self.aliases
        yield self.weights


@plain_dataclass(frozen=True)
class Catalogue:
    """`index` holds the models by every loose spelling of their names, as do the students'."""

    hosts: Mapping[str, Host]
    models: Mapping[str, Model]
    index: Mapping[str, Model]
    students: Mapping[str, Student]
    student_index: Mapping[str, Student]

    def find(self, name: str) -> Model | None:
        return self.index.get(loose(name))

    def find_student(self, name: str) -> Student | None:
        return self.student_index.get(loose(name))


def loose(name: str) -> str:
    """Spellings of one name fall together; the slash of a hub id stays."""
    return re.sub(r"[^a-z0-9/]", "", name.casefold())


def load(extra: Sequence[Path] = ()) -> dict[str, Model]:
    """The models by name: shipped, the user's, those of the files `extra`; a later one replaces.

    Raises:
        ConfigError: names the file and the key that is wrong.
    """
    return dict(catalogue(extra).models)


def find(name: str) -> Model | None:
    """The model that `name` means: its own name, an alias, a hub id, or a name on the wire."""
    return catalogue().find(name)


def catalogue(extra: Sequence[Path] = ()) -> Catalogue:
    """Read once, and again when a file has changed."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    users = (config / "mwalimu" / "models.yaml", Path(".mwalimu") / "models.yaml")
    files = (*(path.absolute() for path in users if path.is_file()), *extra)
    return _catalogue(tuple((p, p.stat().st_mtime_ns if p.is_file() else 0) for p in files))


@lru_cache(maxsize=8)
def _catalogue(files: tuple[tuple[Path, int], ...]) -> Catalogue:
    merged: dict[str, dict[str, tuple[Path, Any]]] = {section: {} for section in SECTIONS}
    for path in (SHIPPED, SHIPPED_STUDENTS, *(path for path, _ in files)):
        for section, entries in read_sections(path, SECTIONS).items():
            merged[section] |= {name: (path, entry) for name, entry in entries.items()}
    hosts = {n: _host(n, path, entry) for n, (path, entry) in merged["hosts"].items()}
    licences = {
        n: typed(Licence, entry, path, f"licences.{n}")
        for n, (path, entry) in merged["licences"].items()
    }
    models = {
        n: _model(n, path, entry, hosts, licences) for n, (path, entry) in merged["models"].items()
    }
    students = {
        n: _student(n, path, entry, licences) for n, (path, entry) in merged["students"].items()
    }
    return Catalogue(
        hosts,
        models,
        _index(models, merged["models"]),
        students,
        _index(students, merged["students"]),
    )


def _index(entries: Mapping[str, T], places: Mapping[str, tuple[Path, Any]]) -> dict[str, T]:
    index: dict[str, T] = {loose(name): entry for name, entry in entries.items()}
    shipped = (SHIPPED, SHIPPED_STUDENTS)
    # What the user wrote last is what the user means.
    for name in sorted(entries, key=lambda name: places[name][0] in shipped):
        for spelling in entries[name].names():
            index.setdefault(loose(spelling), entries[name])
    return index


def _host(name: str, path: Path, entry: Any) -> Host:
    return typed(
        Host, {"name": name} | mapping(entry, path, f"hosts.{name}"), path, f"hosts.{name}"
    )


def _model(
    name: str, path: Path, entry: Any, hosts: Mapping[str, Host], licences: Mapping[str, Licence]
) -> Model:
    key = f"models.{name}"
    raw = _licensed(name, path, entry, licences, key)
    routes = raw.get("routes") or []
    if not isinstance(routes, list):
        raise ConfigError(f"{key}.routes: is not a list", where=str(path))
    raw["routes"] = [
        _route(mapping(route, path, f"{key}.routes.{i}"), hosts, path, f"{key}.routes.{i}")
        for i, route in enumerate(routes)
    ]
    raw["routes"] += [
        _from_host(host) | {"model": raw[host.model_from]}
        for host in hosts.values()
        if host.model_from and raw.get(host.model_from)
    ]
    if not raw["routes"]:
        raise ConfigError(f"{key}.routes: there is no way to the model", where=str(path))
    return typed(Model, raw, path, key)


def _student(name: str, path: Path, entry: Any, licences: Mapping[str, Licence]) -> Student:
    key = f"students.{name}"
    return typed(Student, _licensed(name, path, entry, licences, key), path, key)


def _licensed(
    name: str, path: Path, entry: Any, licences: Mapping[str, Licence], key: str
) -> dict[str, Any]:
    """The entry with its name in it, and the licence that it names."""
    raw = {"name": name} | mapping(entry, path, key)
    licence = raw.get("licence")
    if isinstance(licence, str):
        raw["licence"] = known(licences, licence, path, f"{key}.licence")
    return raw


def _route(raw: dict[str, Any], hosts: Mapping[str, Host], path: Path, key: str) -> dict[str, Any]:
    name = raw.pop("host", None)
    if name is None:
        return raw
    host = known(hosts, name, path, f"{key}.host")
    if isinstance(raw.get("price"), dict):
        batch = {"batch_factor": host.batch_factor}
        raw["price"] = batch | raw["price"]
    return _from_host(host) | raw


def _from_host(host: Host) -> dict[str, Any]:
    return {name: getattr(host, name) for name in Endpoint.__dataclass_fields__}
