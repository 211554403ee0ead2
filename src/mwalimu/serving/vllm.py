"""The same folder served by vLLM's own OpenAI server, with the template that trained it."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from mwalimu.errors import MissingDependency, StudentError


def command(folder: Path, *, name: str, host: str, port: int) -> list[str]:
    """Raises StudentError: an export of another format, or an adapter, is not vLLM's to load."""
    if not (folder / "config.json").exists():
        raise StudentError(
            "vLLM loads whole transformers folders",
            where=str(folder),
            fix="export it to safetensors first",
        )
    arguments = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    arguments += ["--served-model-name", name, "--host", host, "--port", str(port)]
    template = folder / "chat_template.jinja"
    return [*arguments, "--chat-template", str(template)] if template.exists() else arguments


def execute(arguments: list[str]) -> None:
    """This process becomes vLLM's. Raises MissingDependency."""
    if importlib.util.find_spec("vllm") is None:
        raise MissingDependency(
            "vllm is not installed", where="--runtime vllm", fix="pip install 'mwalimu[vllm]'"
        )
    os.execv(arguments[0], arguments)
