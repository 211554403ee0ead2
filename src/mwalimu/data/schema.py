"""A user's JSON schema: read once, compiled once, and what is wrong with a text under it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from mwalimu.data.record import Json
from mwalimu.errors import ConfigError, MissingDependency

Problem = Callable[[str], str]
"""A text to what is wrong with it; "" where it is JSON that fits."""


def read_schema(path: Path) -> Json:
    """Raises ConfigError where the file is no JSON object."""
    try:
        schema = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot be read as JSON ({error})", where=str(path)) from None
    if not isinstance(schema, dict):
        raise ConfigError("is not a JSON object", where=str(path))
    return schema


def compile_schema(schema: Json, *, where: str) -> Problem:
    """Raises ConfigError, naming the file `where`, if it is no schema.

    Raises MissingDependency without fastjsonschema.
    """
    try:
        import fastjsonschema
    except ImportError:
        raise MissingDependency(
            "fastjsonschema is not installed",
            where=where,
            fix="pip install 'mwalimu[schema]'",
        ) from None
    try:
        validate = fastjsonschema.compile(schema)
    except fastjsonschema.JsonSchemaDefinitionException as error:
        raise ConfigError(f"is no JSON schema ({error})", where=where) from None

    def problem(text: str) -> str:
        try:
            validate(json.loads(text))
        except fastjsonschema.JsonSchemaValueException as error:
            return f"the answer breaks the schema: {error.message}"
        except ValueError:
            return "the answer is not JSON"
        return ""

    return problem
