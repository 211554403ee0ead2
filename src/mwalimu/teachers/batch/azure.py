"""Azure OpenAI's batches: OpenAI's, at Azure's addresses, for a deployment made for batches."""

from __future__ import annotations

from yarl import URL

from mwalimu.data.record import Json
from mwalimu.errors import ConfigError
from mwalimu.teachers.base import Request
from mwalimu.teachers.batch.base import Limits
from mwalimu.teachers.batch.openai_files import OpenAIBatches


class AzureBatches(OpenAIBatches):
    limits = Limits(100_000, 199_000_000)

    def _target(self, url: URL) -> tuple[URL, str]:
        """Beside the deployments in the older form of address, under /openai/v1 in the newer."""
        parts = url.parts
        if "deployments" in parts:
            root = "/".join(parts[1 : parts.index("deployments")])
            return url.with_path(f"/{root}").with_query(url.query), "/chat/completions"
        if parts[-4:-2] == ("openai", "v1"):
            return super()._target(url)
        raise ConfigError(
            "this address of Azure has no batch API",
            where="teacher.mode",
            fix="set teacher.base_url to an Azure OpenAI resource, or teacher.mode: online",
        )

    def _body(self, request: Request) -> Json:
        """The file names the deployment, whose kind has to be Global-Batch or Data-Zone-Batch."""
        config = self._channel.config
        return super()._body(request) | {"model": config.deployment or config.model}
