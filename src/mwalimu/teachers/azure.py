"""Azure: the OpenAI protocol at Azure's addresses, with Azure's keys and tokens.

Three forms of address, told apart by `teacher.base_url` and `teacher.deployment`:
  Azure OpenAI v1          {...}/openai/v1/chat/completions
  Azure OpenAI             {...}/openai/deployments/{deployment}/chat/completions?api-version=
  Foundry model inference  {...}/models/chat/completions?api-version=
"""

from __future__ import annotations

from multidict import CIMultiDict
from yarl import URL

from mwalimu.config import TeacherConfig
from mwalimu.teachers.entra import EntraToken
from mwalimu.teachers.openai_chat import CHAT, OpenAIChat
from mwalimu.teachers.wire import api_key, base_url, json_headers, under

OPENAI_VERSION = "2024-10-21"  # the newest stable ones of their kind
INFERENCE_VERSION = "2024-05-01-preview"
SCOPE = "https://cognitiveservices.azure.com/.default"
SERVERLESS = ".models.ai.azure.com"  # one model each, so without /models in the path
SERVERLESS_SCOPE = "https://ml.azure.com/.default"


class AzureChat(OpenAIChat):
    model_setting = "teacher.deployment"

    def __init__(self) -> None:
        super().__init__()
        self._entra: EntraToken | None = None
        self._token = ""

    def url(self, config: TeacherConfig) -> URL:
        base = base_url(config)
        if _is_v1(base):
            return _versioned(under(base, *CHAT), config.api_version)
        if (deployment := _deployment(config, base)) is not None:
            url = under(_resource(base), "openai", "deployments", deployment, *CHAT)
            return _versioned(url, config.api_version or OPENAI_VERSION)
        return _versioned(under(_inference(base), *CHAT), config.api_version or INFERENCE_VERSION)

    def models_url(self, config: TeacherConfig) -> URL | None:
        base = base_url(config)
        if _is_v1(base):
            return _versioned(under(base, "models"), config.api_version)
        if _deployment(config, base) is not None:
            url = under(_resource(base), "openai", "models")
            return _versioned(url, config.api_version or OPENAI_VERSION)
        return _versioned(under(_inference(base), "info"), config.api_version or INFERENCE_VERSION)

    def model_names(self, raw: bytes) -> list[str]:
        """None: Azure lists what could be deployed, while one asks for what is."""
        return []

    async def headers(self, config: TeacherConfig) -> CIMultiDict[str]:
        if config.auth == "entra":
            return await self._entra_headers(config)
        if self._headers is None:
            base, key = base_url(config), api_key(config)
            named = {"api_key": key} if key else {}
            if key and not _is_v1(base) and _deployment(config, base) is None:
                named["authorization"] = f"Bearer {key}"  # some Foundry endpoints read only this
            self._headers = json_headers(**named)
        return self._headers

    async def _entra_headers(self, config: TeacherConfig) -> CIMultiDict[str]:
        if self._entra is None:
            host = base_url(config).host or ""
            self._entra = EntraToken(SERVERLESS_SCOPE if host.endswith(SERVERLESS) else SCOPE)
        token = await self._entra.get()
        if self._headers is None or token != self._token:
            self._token = token
            self._headers = json_headers(authorization=f"Bearer {token}")
        return self._headers

    def wire_model(self, config: TeacherConfig) -> str:
        """v1 finds the deployment by this name; elsewhere the path or Foundry's routing does."""
        return (config.deployment or config.model) if _is_v1(base_url(config)) else config.model


def _is_v1(base: URL) -> bool:
    return base.path.endswith("/openai/v1")


def _deployment(config: TeacherConfig, base: URL) -> str | None:
    """None means Foundry. A resource of Azure OpenAI has deployments and nothing else."""
    if config.deployment is None and (base.host or "").endswith(".openai.azure.com"):
        return config.model
    return config.deployment


def _resource(base: URL) -> URL:
    return base.parent if base.path.endswith("/openai") else base


def _inference(base: URL) -> URL:
    """Where Foundry's routes begin, which the portal shows with /models or without."""
    if base.path.endswith("/models") or (base.host or "").endswith(SERVERLESS):
        return base
    return under(base, "models")


def _versioned(url: URL, version: str | None) -> URL:
    return url.update_query({"api-version": version}) if version else url
