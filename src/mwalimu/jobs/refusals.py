"""Why the store says no; each kind is one status over HTTP.

MwalimuError
├── ConfigError      400   what was given is not valid
└── RunError
    ├── NotFound     404   nothing of that name
    │   └── JobNotFound
    ├── WrongState   409   does not go with how things are now
    └── QuotaReached 429   the owner has as much as they may have
LostLease                  never over HTTP: a worker has to end
"""

from __future__ import annotations

from mwalimu.errors import RunError


class NotFound(RunError):
    pass


class JobNotFound(NotFound):
    pass


class WrongState(RunError):
    """What was asked does not go with the state that things are in."""


class QuotaReached(RunError):
    pass


class LostLease(Exception):
    """The job is another worker's, or nobody's."""
