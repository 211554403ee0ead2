"""On Azure's compute: `python -m mwalimu.azure.cloud.with_keys NAME=CONNECTION ... -- command ...`

Fetches each connection's key with the identity of the compute, puts it into the environment, and
becomes the command. So a key is in no job, no file and no log.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from mwalimu.azure.cloud.sdk import boundary, default_credential, sdk
from mwalimu.errors import ConfigError, MwalimuError

WORKSPACE = {
    "subscription_id": "AZUREML_ARM_SUBSCRIPTION",
    "resource_group_name": "AZUREML_ARM_RESOURCEGROUP",
    "workspace_name": "AZUREML_ARM_WORKSPACE_NAME",
}
"""Azure sets these in every job."""


def keys_of(wanted: Mapping[str, str], *, credential: Any | None = None) -> dict[str, str]:
    """The value of each variable, out of the connection that it is mapped to.

    Raises:
        ConfigError: this is no job of Azure, or a connection holds no key.
        CloudError: the compute's identity may not read it.
    """
    missing = [name for name in WORKSPACE.values() if not os.environ.get(name)]
    if missing:
        raise ConfigError("is not set, so this is no job of Azure", where=missing[0])
    place = {field: os.environ[name] for field, name in WORKSPACE.items()}
    ml = sdk()
    with boundary("the workspace"):
        client = ml.MLClient(
            credential or default_credential(),
            enable_telemetry=False,
            show_progress=False,
            **place,
        )
    return {name: _key(client, connection) for name, connection in wanted.items()}


def main(arguments: Sequence[str]) -> None:
    """Does not return: the process becomes the command."""
    mark = arguments.index("--")
    wanted = dict(argument.split("=", 1) for argument in arguments[:mark])
    command = list(arguments[mark + 1 :])
    try:
        environment = {**os.environ, **keys_of(wanted)}
    except MwalimuError as error:
        sys.exit(f"error: {error}")
    os.execvpe(command[0], command, environment)


def _key(client: Any, name: str) -> str:
    with boundary(f"connection {name}"):
        connection = client.connections.get(name, populate_secrets=True)
    credentials = connection.credentials
    key = getattr(credentials, "key", None)
    if not isinstance(key, str) or not key:
        raise ConfigError(
            "holds no key", where=f"connection {name}", fix="make it one of type api_key"
        )
    return key


if __name__ == "__main__":
    main(sys.argv[1:])
