"""Microsoft's SDK, imported in this file alone: its warnings stay here, its errors become ours,
and it reports nothing about its use.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from mwalimu.errors import ConfigError, MissingDependency, MwalimuError
from mwalimu.teachers.status import clean

INSTALL = "pip install 'mwalimu[azure]'"
_CHATTER = ("azure.ai.ml", "azure.ai.ml._utils._experimental")

_END = object()


class CloudError(MwalimuError):
    """Azure refused, or could not be reached."""


def sdk() -> ModuleType:
    """`azure.ai.ml`. Raises MissingDependency."""
    with quiet():
        try:
            import azure.ai.ml as found
            import azure.ai.ml.entities
            import azure.ai.ml.model_customization  # noqa: F401
        except ImportError as error:
            raise MissingDependency(
                f"the Azure backend needs azure-ai-ml ({error.name} is missing)", fix=INSTALL
            ) from None
    for name in _CHATTER:
        logging.getLogger(name).setLevel(logging.ERROR)
    module: ModuleType = found
    return module


def default_credential() -> Any:
    """Azure's own order: environment, workload and managed identity, az login. Asks nobody yet."""
    try:
        from azure.identity import DefaultAzureCredential
    except ImportError:
        raise MissingDependency("the Azure backend needs azure-identity", fix=INSTALL) from None
    return DefaultAzureCredential()


def open_client(
    credential: Any | None = None, *, path: str | Path | None = None, **options: Any
) -> Any:
    """The SDK's client of the workspace that config.json names.

    It is looked for as the SDK does: at `path`, or in `.azureml` or the folder itself, here and
    upwards. `options` are the SDK's, such as `cloud`.

    Raises:
        ConfigError: there is no such file, or it does not name a workspace.
    """
    ml = sdk()
    try:
        with boundary("config.json"):
            return ml.MLClient.from_config(
                credential or default_credential(),
                path=path,
                enable_telemetry=False,
                show_progress=False,
                **options,
            )
    except (json.JSONDecodeError, UnicodeDecodeError):
        fix = "download it anew from the page of the workspace"
        raise ConfigError("is not valid JSON", where="config.json", fix=fix) from None


def fetch(client: Any, address: str, folder: Path) -> None:
    """What is at an azureml:// address of the storage; the SDK's clients fetch whole outputs."""
    from azure.ai.ml._artifacts._artifact_utilities import download_artifact_from_aml_uri

    download_artifact_from_aml_uri(address, str(folder), client.datastores)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the deprecations of marshmallow and of Azure's own storage client, which the SDK
    builds on.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", category=Warning, module=r"(azure\.ai\.ml|marshmallow)")
        yield


@contextmanager
def boundary(where: str, *, secrets: tuple[str, ...] = ()) -> Iterator[None]:
    """Around every call of the SDK: `where` is what is asked for, such as "job tickets-1".

    Raises:
        CloudError: Azure refuses, knows no such thing, or cannot be reached.
        ConfigError: the SDK itself refuses what it was given.
    """
    from azure.core.exceptions import AzureError
    from marshmallow import ValidationError

    with quiet():
        try:
            yield
        except (AzureError, ValidationError) as error:
            raise _ours(error, where, secrets) from None


def each(items: Iterable[Any], where: str) -> Iterator[Any]:
    """The items of a listing, whose pages are asked for on the way; every step is in a boundary,
    what is done with an item is not.
    """
    remaining = iter(items)
    while True:
        with boundary(where):
            item = next(remaining, _END)
        if item is _END:
            return
        yield item


def _ours(error: Exception, where: str, secrets: tuple[str, ...]) -> MwalimuError:
    from azure.core import exceptions as core

    words = clean(_first_words(error), secrets)
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 403:
        return CloudError(f"is not allowed ({words})", where=where, fix="ask for a role in it")
    if isinstance(error, core.ClientAuthenticationError):
        fix = "run 'az login', or set AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET"
        return CloudError(f"Azure does not know who asks ({words})", where=where, fix=fix)
    if isinstance(error, core.ResourceNotFoundError):
        fix = "check its name, and the workspace in config.json"
        return CloudError(f"Azure has no such thing ({words})", where=where, fix=fix)
    if isinstance(error, core.ServiceRequestError | core.ServiceResponseError):
        return CloudError(f"Azure cannot be reached ({words})", where=where, fix="try again later")
    if isinstance(error, core.DecodeError):
        fix = "is a proxy in between?"
        return CloudError(f"Azure's answer cannot be read ({words})", where=where, fix=fix)
    if isinstance(error, core.HttpResponseError):
        fix = "try again later" if status in (429, 500, 502, 503, 504) else ""
        return CloudError(f"Azure answered {status} ({words})", where=where, fix=fix)
    if getattr(error, "error_category", None) == "SystemError":
        return CloudError(f"the job has failed ({words})", where=where, fix="read its log")
    return ConfigError(f"the SDK of Azure refuses it ({words})", where=where)


def _first_words(error: Exception) -> str:
    """Of ARM's {"error": {"code", "message"}} both; of anything else its text."""
    inner = getattr(error, "error", None)
    code, message = getattr(inner, "code", None), getattr(inner, "message", None)
    return f"{code}: {message}" if code and message else str(error)
