"""The formats of others, one file each; a set's format is found by its first readable row."""

from __future__ import annotations

from collections.abc import Iterable

from mwalimu.data.formats.alpaca import ALPACA
from mwalimu.data.formats.azure import AZURE
from mwalimu.data.formats.base import Exchange, Format, Written
from mwalimu.data.formats.bedrock import BEDROCK, BEDROCK_LOG
from mwalimu.data.formats.chat_rows import NATIVE, OPENAI
from mwalimu.data.formats.gsm8k import GSM8K
from mwalimu.data.formats.nli_pairs import NLI_PAIRS
from mwalimu.data.formats.paid_answers import ANTHROPIC_BATCH, OPENAI_BATCH, REQUEST_LOG
from mwalimu.data.formats.sharegpt import SHAREGPT
from mwalimu.data.formats.squad import SQUAD
from mwalimu.data.formats.summaries import SUMMARIES
from mwalimu.data.readers import BadRow
from mwalimu.data.shards import Shards
from mwalimu.errors import ConfigError

# The first that detects a row is it: those that know their rows best come first.
FORMATS = (
    OPENAI_BATCH,
    ANTHROPIC_BATCH,
    BEDROCK_LOG,
    REQUEST_LOG,
    BEDROCK,
    SHAREGPT,
    ALPACA,
    OPENAI,
    NATIVE,
    AZURE,
    NLI_PAIRS,
    SQUAD,
    GSM8K,
    SUMMARIES,
)
BY_NAME = {one.name: one for one in FORMATS}
LOOKED_AT = 100  # rows, of which the first readable one decides

__all__ = ["BY_NAME", "FORMATS", "NATIVE", "Exchange", "Format", "Written", "detect", "named"]


def detect(shards: Shards) -> Format:
    """The format of a set of rows; our own where no row can be read or none is known.

    Raises DataError where there is nothing to read.
    """
    for looked, (_, row) in enumerate(shards.rows()):
        if looked == LOOKED_AT:
            break
        if not isinstance(row, BadRow):
            return next((one for one in FORMATS if one.detects(row)), NATIVE)
    return NATIVE


def named(name: str, *, option: str = "--format", able: Iterable[str] = BY_NAME) -> Format:
    """Raises ConfigError, which names the `option` and what it takes, for a name that is none."""
    if name not in BY_NAME:
        fix = f"one of {', '.join(able)}"
        raise ConfigError(f"{name!r} is no format", where=option, fix=fix)
    return BY_NAME[name]
