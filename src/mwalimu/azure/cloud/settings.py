"""Where on Azure a command job runs, and in what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import mwalimu
from mwalimu.config import Config
from mwalimu.errors import ConfigError
from mwalimu.jobs.workspace import NAME

IMAGE = "mcr.microsoft.com/azureml/openmpi5.0-cuda12.6-ubuntu24.04"
VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_WHEEL = re.compile(r"[A-Za-z0-9._+-]+\.whl")


@dataclass(frozen=True, slots=True)
class CloudSettings:
    """`environment` is one that the workspace has ("azureml:name:version"). Without it one is made
    of `image` and `package`: a requirement of pip, or a wheel file of this package.

    `keys` says for each environment variable which workspace connection holds its value. No key
    goes into a job: the compute fetches it with its own identity.
    """

    compute: str | None = None
    instance_type: str | None = None
    environment: str | None = None
    image: str = IMAGE
    package: str = f"mwalimu[azure,eval]=={mwalimu.__version__}"
    keys: Mapping[str, str] = field(default_factory=dict)
    datastore: str = "workspaceblobstore"

    @property
    def wheel(self) -> Path | None:
        return Path(self.package) if self.package.endswith(".whl") else None

    def require_complete(self) -> None:
        """Raises ConfigError for a name that is none, or if there is nowhere to run."""
        if not self.compute and not self.instance_type:
            raise ConfigError(
                "no compute is named to run the job on",
                where="MLClient",
                fix="give compute='NAME', or instance_type='Standard_NC24ads_A100_v4' "
                "for a serverless one",
            )
        for what, name in (("compute", self.compute), ("datastore", self.datastore)):
            if name and not NAME.fullmatch(name):
                raise ConfigError(f"{name[:80]!r} is no name", where=what)
        for variable, connection in self.keys.items():
            if not VARIABLE.fullmatch(variable) or not NAME.fullmatch(connection):
                raise ConfigError(
                    f"{variable[:80]!r}: {connection[:80]!r} is no variable and connection",
                    where="keys",
                    fix="write {'OPENAI_API_KEY': 'name-of-the-connection'}; never the key itself",
                )
        if self.wheel and not (self.wheel.is_file() and _WHEEL.fullmatch(self.wheel.name)):
            raise ConfigError("no such wheel", where=self.package, fix="build it: python -m build")


def require_keys(config: Config, keys: Mapping[str, str]) -> None:
    """Raises ConfigError for a teacher whose key the compute could not find."""
    from mwalimu.azure.cloud.staging import named_teachers

    for where, teacher in named_teachers(config):
        wanted = teacher.api_key_env if teacher.remote and teacher.auth == "key" else None
        if wanted and wanted not in keys:
            raise ConfigError(
                f"{wanted} would not be there on Azure's compute",
                where=f"{where}.api_key_env",
                fix=f"give keys={{'{wanted}': 'NAME'}}, NAME being the workspace connection "
                "that holds it",
            )
