"""The states of a job, by the names that Azure ML uses, and which may follow which.

    NotStarted -> Queued -> Starting -> Preparing -> Running -> Finalizing -> Completed

Running is every stage of the pipeline; Preparing is what a worker does before, Finalizing the
registering of models after. A worker whose lease runs out leaves the job NotResponding for the
moment in which it is taken back: it is Queued again, or Failed after too many attempts.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class State(StrEnum):
    NOT_STARTED = "NotStarted"
    QUEUED = "Queued"
    STARTING = "Starting"
    PREPARING = "Preparing"
    RUNNING = "Running"
    FINALIZING = "Finalizing"
    CANCEL_REQUESTED = "CancelRequested"
    PAUSE_REQUESTED = "PauseRequested"
    NOT_RESPONDING = "NotResponding"
    PAUSED = "Paused"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELED = "Canceled"


_S = State
_BREAKS = {_S.CANCEL_REQUESTED, _S.PAUSE_REQUESTED, _S.NOT_RESPONDING, _S.FAILED}

FOLLOWS: dict[State, frozenset[State]] = {
    _S.NOT_STARTED: frozenset({_S.QUEUED, _S.CANCELED}),
    _S.QUEUED: frozenset({_S.STARTING, _S.CANCELED, _S.PAUSED}),
    _S.STARTING: frozenset({_S.PREPARING, *_BREAKS}),
    _S.PREPARING: frozenset({_S.RUNNING, *_BREAKS}),
    _S.RUNNING: frozenset({_S.FINALIZING, *_BREAKS}),
    _S.FINALIZING: frozenset({_S.COMPLETED, *_BREAKS}),
    # A worker may have finished before it heard of it; then what is done is done.
    _S.CANCEL_REQUESTED: frozenset({_S.CANCELED, _S.COMPLETED, _S.FAILED}),
    _S.PAUSE_REQUESTED: frozenset({_S.PAUSED, _S.COMPLETED, _S.FAILED, _S.CANCEL_REQUESTED}),
    _S.NOT_RESPONDING: frozenset({_S.QUEUED, _S.FAILED}),
    _S.PAUSED: frozenset({_S.QUEUED, _S.CANCELED}),
    _S.FAILED: frozenset({_S.QUEUED}),
    _S.CANCELED: frozenset({_S.QUEUED}),
    _S.COMPLETED: frozenset(),
}
"""What may follow each state. `resume` is what leads from Paused, Failed or Canceled to Queued."""

HELD = frozenset(
    {_S.STARTING, _S.PREPARING, _S.RUNNING, _S.FINALIZING, _S.CANCEL_REQUESTED, _S.PAUSE_REQUESTED}
)
"""A worker has it: it has a lease and takes up a slot."""

ENDED = frozenset({_S.COMPLETED, _S.FAILED, _S.CANCELED, _S.PAUSED})
"""Nothing more happens unless somebody asks."""

OVER = frozenset({_S.COMPLETED, _S.FAILED, _S.CANCELED})
"""Ended, and not meant to go on: a paused job keeps what it uses and what it has reserved."""

STOPS = {_S.CANCEL_REQUESTED: _S.CANCELED, _S.PAUSE_REQUESTED: _S.PAUSED}
"""What was asked of a worker, and how the job ends once it has heard."""


def _stopped_from(asked: State, at_once: State) -> frozenset[State]:
    """A worker is asked, and needs a moment; where none has the job, it is so at once."""
    return frozenset(s for s, then in FOLLOWS.items() if (asked if s in HELD else at_once) in then)


VERBS: dict[str, frozenset[State]] = {
    "pause": _stopped_from(_S.PAUSE_REQUESTED, _S.PAUSED),
    "cancel": _stopped_from(_S.CANCEL_REQUESTED, _S.CANCELED),
    "resume": frozenset(s for s in ENDED if _S.QUEUED in FOLLOWS[s]),
    "delete": frozenset(_S) - HELD,
}
"""What somebody may ask of a job, and in which states something comes of it."""

_AZURE_NAMES = {_S.PAUSE_REQUESTED: "Running"}


def azure_name(state: State) -> str:
    """As it is told to those who speak Azure's names, of which one is missing."""
    return _AZURE_NAMES.get(state, state.value)


def sql_list(states: Iterable[State]) -> str:
    """For `state IN (...)`."""
    return ", ".join(f"'{state}'" for state in sorted(states))
