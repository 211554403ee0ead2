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

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from mwalimu.errors import ConfigError

SHIPPED = Path(__file__).with_name("models.yaml")
SECTIONS = ("hosts", "licences", "models")
Kind = Literal["openai_compatible", "anthropic", "azure", "vllm", "local"]
T = TypeVar("T")

_STRICT = ConfigDict(extra="forbid")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast


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
    """`training`: whether the terms let other models learn from the output; `terms` in a clause."""

    name: str
    url: str
    training: Literal["allowed", "conditions", "restricted"]
    terms: str


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


@plain_dataclass(frozen=True)
class Catalogue:
    """`index` holds the models by every loose spelling of their names."""

    hosts: Mapping[str, Host]
    models: Mapping[str, Model]
    index: Mapping[str, Model]

    def find(self, name: str) -> Model | None:
        return self.index.get(loose(name))


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
    for path in (SHIPPED, *(path for path, _ in files)):
        for section, entries in _read(path).items():
            merged[section] |= {name: (path, entry) for name, entry in entries.items()}
    hosts = {n: _host(n, path, entry) for n, (path, entry) in merged["hosts"].items()}
    licences = {
        n: _typed(Licence, entry, path, f"licences.{n}")
        for n, (path, entry) in merged["licences"].items()
    }
    models = {
        n: _model(n, path, entry, hosts, licences) for n, (path, entry) in merged["models"].items()
    }
    index: dict[str, Model] = {loose(name): model for name, model in models.items()}
    # What the user wrote last is what the user means.
    for name in sorted(models, key=lambda name: merged["models"][name][0] == SHIPPED):
        for spelling in models[name].names():
            index.setdefault(loose(spelling), models[name])
    return Catalogue(hosts, models, index)


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read ({error})", where=str(path)) from None
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        place = str(path) if line is None else f"{path}:{line + 1}"
        raise ConfigError("is not valid YAML", where=place) from None
    sections = _mapping(raw or {}, path, "the file")
    for section, entries in sections.items():
        if section not in SECTIONS:
            raise ConfigError(
                f"{section}: unknown key", where=str(path), fix=f"known: {', '.join(SECTIONS)}"
            )
        _mapping(entries, path, section)
    return sections


def _host(name: str, path: Path, entry: Any) -> Host:
    return _typed(
        Host, {"name": name} | _mapping(entry, path, f"hosts.{name}"), path, f"hosts.{name}"
    )


def _model(
    name: str, path: Path, entry: Any, hosts: Mapping[str, Host], licences: Mapping[str, Licence]
) -> Model:
    key = f"models.{name}"
    raw = {"name": name} | _mapping(entry, path, key)
    licence = raw.get("licence")
    if isinstance(licence, str):
        raw["licence"] = _known(licences, licence, path, f"{key}.licence")
    routes = raw.get("routes") or []
    if not isinstance(routes, list):
        raise ConfigError(f"{key}.routes: is not a list", where=str(path))
    raw["routes"] = [
        _route(_mapping(route, path, f"{key}.routes.{i}"), hosts, path, f"{key}.routes.{i}")
        for i, route in enumerate(routes)
    ]
    raw["routes"] += [
        _from_host(host) | {"model": raw[host.model_from]}
        for host in hosts.values()
        if host.model_from and raw.get(host.model_from)
    ]
    if not raw["routes"]:
        raise ConfigError(f"{key}.routes: there is no way to the model", where=str(path))
    return _typed(Model, raw, path, key)


def _route(raw: dict[str, Any], hosts: Mapping[str, Host], path: Path, key: str) -> dict[str, Any]:
    name = raw.pop("host", None)
    if name is None:
        return raw
    host = _known(hosts, name, path, f"{key}.host")
    if isinstance(raw.get("price"), dict):
        batch = {"batch_factor": host.batch_factor}
        raw["price"] = batch | raw["price"]
    return _from_host(host) | raw


def _from_host(host: Host) -> dict[str, Any]:
    return {name: getattr(host, name) for name in Endpoint.__dataclass_fields__}


def _known(known: Mapping[str, T], name: Any, path: Path, key: str) -> T:
    if name not in known:
        raise ConfigError(
            f"{key}: {name!r} is not known", where=str(path), fix=f"known: {', '.join(known)}"
        )
    return known[name]


def _mapping(value: Any, path: Path, key: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ConfigError(f"{key}: is not a mapping of names", where=str(path))
    return dict(value)


def _typed(kind: type[T], raw: Any, path: Path, key: str) -> T:
    try:
        return TypeAdapter(kind).validate_python(raw)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, (key, *item['loc'])))}: {item['msg']}" for item in error.errors()
        ]
        raise ConfigError("; ".join(problems), where=str(path)) from None
