"""The service that is meant: as given, from the environment, or the local one."""

from __future__ import annotations

import os
from pathlib import Path

from mwalimu.errors import ConfigError
from mwalimu.jobs.client.place import Place
from mwalimu.jobs.workspace import Workspace

URL, TOKEN, WORKSPACE = "MWALIMU_URL", "MWALIMU_TOKEN", "MWALIMU_WORKSPACE"
DEFAULT_WORKSPACE = Path(".mwalimu") / "service"


def find_service(url: str | None = None, token: str | None = None) -> Place:
    """What is given, MWALIMU_URL and MWALIMU_TOKEN, or the service of the local workspace.

    Raises:
        ConfigError: there is an address, but no token for it.
    """
    url, token = url or os.environ.get(URL), token or os.environ.get(TOKEN)
    if url is None:
        # It imports this package, so whoever comes first of the two would meet half of the other.
        from mwalimu.jobs.hosting.local import running_service

        return running_service(local_workspace())
    if token is None:
        raise ConfigError("there is no token for it", where=url, fix=f"set {TOKEN}")
    return Place(url, token)


def local_workspace() -> Workspace:
    """MWALIMU_WORKSPACE, or .mwalimu/service in the current folder."""
    return Workspace(Path(os.environ.get(WORKSPACE) or DEFAULT_WORKSPACE).absolute())
