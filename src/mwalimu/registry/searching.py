"""Teachers looked for by words."""

from __future__ import annotations

from collections.abc import Sequence

from mwalimu.errors import ConfigError
from mwalimu.registry.catalogue import Model, find, load, loose


def search(
    words: Sequence[str] = (), *, returns: str | None = None, trainable: bool = False
) -> list[Model]:
    """The model whose name the words are, or else those that every word fits.

    `returns`: "logprobs" leaves the models with a route that reports them; `trainable` those whose
    terms do not restrict training on the output.
    """
    if returns not in (None, "text", "logprobs"):
        raise ConfigError(f"{returns!r} is neither text nor logprobs", where="--returns")
    named = find(" ".join(words)) if words else None
    found = [named] if named else [m for m in load().values() if all(_fits(m, w) for w in words)]
    return [
        model
        for model in found
        if (returns != "logprobs" or any(route.top_logprobs for route in model.routes))
        and not (trainable and model.licence.training == "restricted")
    ]


def _fits(model: Model, word: str) -> bool:
    texts = (model.family, *model.names(), *(route.name for route in model.routes))
    return any(loose(word) in loose(text) for text in texts)
