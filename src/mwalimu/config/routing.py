"""From a teacher's name to a route: `resolve` fills in what the user left unset.

What the user set always wins. A key is bound to a host: it never travels to an address that it was
not made for, whatever the model is called there.
"""

from __future__ import annotations

import os
from datetime import date
from typing import Any

from mwalimu.config.teacher import TeacherConfig
from mwalimu.errors import ConfigError
from mwalimu.registry.catalogue import (
    Catalogue,
    Endpoint,
    Model,
    Price,
    Route,
    catalogue,
)
from mwalimu.registry.students import nearest_names

IN_PROCESS = {"local", "vllm"}
MISSPELT = 0.8  # 'gtp-4.1' is like 'gpt-4.1'; 'gpt2' is like none


def resolve(teacher: TeacherConfig, *, key: str = "teacher") -> TeacherConfig:
    """`teacher` with what its route says where the user said nothing. Idempotent.

    Raises:
        ConfigError: an unknown route, one that needs an address of the user's own, or one that
            returns fewer log-probabilities than asked for; names a setting of `key`.
    """
    untouched = _is_folder(teacher) and not (teacher.base_url or teacher.route)
    if teacher.resolved_kind == "fake" or untouched:
        return teacher
    known = catalogue()
    model = _model(known, teacher)
    if model is None:
        _refuse_misspelt(known, teacher, key)
    route = _choose(model, teacher, key)
    if route is not None:
        _check(route, teacher, key)
    place: Endpoint | None = route
    if place is None and teacher.kind == "anthropic" and not teacher.base_url:
        place = known.hosts["anthropic"]  # a model that is newer than this registry
    base_url = teacher.base_url or (place.base_url if place else None)
    owner = _owner(known, route, base_url)
    found: dict[str, Any] = {
        "kind": place.kind if place else owner.kind if owner else None,
        "route": route.name if route else None,
        "base_url": base_url,
        "api_key_env": owner.api_key_env if owner else None,
        "identity": _identity(model, teacher.model) if model else None,
    }
    if route and route.price:
        found |= _prices(route.price, teacher)
    update = {
        name: value
        for name, value in found.items()
        if value is not None and getattr(teacher, name) in (None, "auto")
    }
    if route and _names(known, model, teacher) and teacher.model not in route.snapshots:
        update["model"] = route.model
    return teacher.model_copy(update=update)


def terms_notice(teacher: TeacherConfig) -> str | None:
    """One line on the licence and on training with the output; None for an unknown teacher."""
    model = None if teacher.resolved_kind == "fake" else _model(catalogue(), teacher)
    if model is None:
        return None
    licence = model.licence
    line = f"{model.name} is under {licence.name}: {licence.terms} ({licence.url})"
    route = next((route for route in model.routes if route.name == teacher.route), None)
    if route and route.api_key_env and model.weights:
        line += f"; the terms of {route.name} apply too"
    if route and route.retired:
        past = route.retired <= date.today()
        line += f"; {route.name} serves it {'no more since' if past else 'until'} {route.retired}"
    return line


def _model(known: Catalogue, teacher: TeacherConfig) -> Model | None:
    """The model of this name; for a name of the user's own, the one that `identity` means."""
    by_name = None if _is_folder(teacher) else known.find(teacher.model)
    return by_name or known.find(teacher.identity or "")


def _names(known: Catalogue, model: Model | None, teacher: TeacherConfig) -> bool:
    return not _is_folder(teacher) and known.find(teacher.model) is model


def _choose(model: Model | None, teacher: TeacherConfig, key: str) -> Route | None:
    if model is None:
        if teacher.route is not None:
            raise ConfigError(
                f"{teacher.model!r} is not in the registry, so it has no routes",
                where=f"{key}.route",
                fix="see 'mwalimu models', or set base_url instead",
            )
        return None
    if teacher.base_url and teacher.route is None:
        # A server of one's own may call its model anything; a host that is known has its own names.
        return next((r for r in model.routes if r.api_key_env and r.owns(teacher.base_url)), None)
    routes = [route for route in model.routes if _offered(route, teacher)]
    if not routes:
        wanted = f"called {teacher.route}" if teacher.route else "of its own"
        wanted += "" if teacher.kind == "auto" else f" for kind {teacher.kind}"
        raise ConfigError(
            f"{model.name} has no route {wanted}",
            where=f"{key}.route" if teacher.route else f"{key}.kind",
            fix="it has " + ", ".join(f"{route.name} ({route.kind})" for route in model.routes),
        )
    exact = [route for route in routes if teacher.model in (route.model, *route.snapshots)]
    # A hub id has always meant the weights on this machine: no prompt leaves it unasked.
    is_hub_id = teacher.model == model.weights or ("/" in teacher.model and not exact)
    local = [route for route in routes if route.kind == "local"] if is_hub_id else []
    return (local or exact or routes)[0]


def _refuse_misspelt(known: Catalogue, teacher: TeacherConfig, key: str) -> None:
    """One word that is nearly a known name is no hub id: nobody waits for a hub to say so."""
    if teacher.resolved_kind != "local" or "/" in teacher.model:
        return
    if near := nearest_names(teacher.model, known.index, MISSPELT):
        raise ConfigError(
            f"{teacher.model!r} is no folder here and no teacher that is known by name",
            where=f"{key}.model",
            fix=f"did you mean {' or '.join(near)}? 'mwalimu models' lists all; "
            "or name a folder, a hub id, or a server's model with base_url",
        )


def _offered(route: Route, teacher: TeacherConfig) -> bool:
    if teacher.route is None:
        return teacher.kind in ("auto", route.kind)
    if teacher.kind not in ("auto", route.kind) and IN_PROCESS & {teacher.kind, route.kind}:
        return False  # a served model is not loaded here, nor the other way round
    return teacher.route == route.name


def _check(route: Route, teacher: TeacherConfig, key: str) -> None:
    if route.needs and not teacher.base_url:
        raise ConfigError(
            f"route {route.name} has no address of its own",
            where=f"{key}.base_url",
            fix=route.needs.replace("teacher.", f"{key}."),
        )
    if teacher.top_logprobs > route.top_logprobs:
        raise ConfigError(
            f"route {route.name} returns at most {route.top_logprobs} log-probabilities a token",
            where=f"{key}.top_logprobs",
            fix="lower it, or take another route: mwalimu models --returns logprobs",
        )


def _owner(known: Catalogue, route: Route | None, base_url: str | None) -> Endpoint | None:
    """Whose key may go to `base_url`."""
    if base_url is None:
        return None
    places = ([route] if route else []) + list(known.hosts.values())
    return next((place for place in places if place.api_key_env and place.owns(base_url)), None)


def _prices(price: Price, teacher: TeacherConfig) -> dict[str, float | None]:
    """The online prices; what a batch costs of them is applied where a batch is paid."""
    # Beside the user's own price of prompts the listed cached one is a discount of another price.
    own = teacher.usd_per_million_input is not None
    return {
        "usd_per_million_input": price.input,
        "usd_per_million_output": price.output,
        "usd_per_million_cached": None if own else price.cached,
        "batch_factor": price.batch_factor,
    }


def _identity(model: Model, name: str) -> str:
    """A pinned version is a model of its own in the answer store."""
    return name if any(name in route.snapshots for route in model.routes) else model.name


def _is_folder(teacher: TeacherConfig) -> bool:
    return os.path.isdir(teacher.model)
