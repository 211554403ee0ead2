"""Azure's job states and ours, both ways."""

from __future__ import annotations

from mwalimu.jobs.states import State

_OURS = {
    "Provisioning": State.STARTING,  # a compute is being made for it
    "Unknown": State.NOT_RESPONDING,
}
COMPLETED = "Completed"
ENDED = frozenset({COMPLETED, "Failed", "Canceled", "NotResponding", "Paused"})
"""Where Azure's own SDK stops waiting."""


def state_of(status: str) -> State:
    """Ours. Raises ValueError for a state that Azure did not have when this was written."""
    return _OURS.get(status) or State(status)
