"""What every section of `distill.yaml` is: closed to unknown keys, and never changed."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict

_SPELT = {True: "on", False: "off"}
_Word = TypeVar("_Word")


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


def _word(value: Any) -> Any:
    return _SPELT[value] if isinstance(value, bool) else value


Worded = Annotated[_Word, BeforeValidator(_word)]
"""Of words that YAML 1.1 reads as true and false: `on` and `off`."""

Switch = Worded[Literal["auto", "on", "off"]]
