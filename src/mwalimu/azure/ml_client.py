"""`MLClient`, by the SDK's names, over the job service; with `backend="azure"`, over Azure."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from mwalimu.azure.job_operations import JobOperations
from mwalimu.azure.model_operations import ModelOperations
from mwalimu.errors import ConfigError
from mwalimu.jobs.client import Client
from mwalimu.jobs.client.finding import URL

if TYPE_CHECKING:
    from mwalimu.azure.cloud.backend import CloudClient

CONFIG_FILES = ("mwalimu.json", ".azureml/config.json")
_KEY = "mwalimu_url"


class MLClient:
    """`jobs` and `models` of one service."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.jobs = JobOperations(client)
        self.models = ModelOperations(client)

    @overload
    @classmethod
    def from_config(
        cls,
        credential: Any = None,
        *,
        path: str | Path | None = None,
        backend: Literal["service"] = "service",
    ) -> MLClient: ...

    @overload
    @classmethod
    def from_config(
        cls,
        credential: Any = None,
        *,
        path: str | Path | None = None,
        backend: Literal["azure"],
        **settings: Any,
    ) -> CloudClient: ...

    @classmethod
    def from_config(
        cls,
        credential: Any = None,
        *,
        path: str | Path | None = None,
        backend: str = "service",
        **settings: Any,
    ) -> MLClient | CloudClient:
        """The service that `path` names by `mwalimu_url`: mwalimu.json, .azureml/config.json, or
        the folder of one. Without it MWALIMU_URL, else such a file here or in a folder above, else
        the local service, which is started if need be. The token is MWALIMU_TOKEN.

        `credential` and `settings` are for Azure alone.

        Raises:
            ConfigError: the file cannot be read, or there is an address and no token.
        """
        if backend == "azure":
            from mwalimu.azure.cloud.backend import open_cloud

            return open_cloud(path=path, credential=credential, **settings)
        if backend != "service" or settings:
            unknown = ", ".join(settings) or f"backend {backend!r}"
            raise ConfigError("is unknown here", where=unknown, fix="backend: service or azure")
        if path is None and os.environ.get(URL):
            return cls(Client.connect())
        return cls(Client.connect(_configured(None if path is None else Path(path))))

    def close(self) -> None:
        self.client.close()


def _configured(path: Path | None) -> str | None:
    """The address that the nearest file names; None if none does."""
    if path is not None and path.is_file():
        return _address(path)
    start = (path or Path.cwd()).resolve()
    folders = (start,) if path is not None else (start, *start.parents)
    files = (folder / name for folder in folders for name in (*CONFIG_FILES, "config.json"))
    return next((found for file in files if file.is_file() and (found := _address(file))), None)


def _address(file: Path) -> str | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot be read ({type(error).__name__})", where=str(file)) from None
    url = found.get(_KEY) if isinstance(found, dict) else None
    if url is not None and not isinstance(url, str):
        raise ConfigError("is no address", where=f"{file}: {_KEY}")
    return url
