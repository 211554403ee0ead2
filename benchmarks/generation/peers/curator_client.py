"""The job with bespokelabs-curator: cache on, limits raised, telemetry off."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

from job import MAX_TOKENS, MODEL, Job

os.environ["TELEMETRY_ENABLED"] = "false"
os.environ["HF_HOME"] = os.path.abspath("home")  # else runs meet in the user's cache
# Its constructor downloads tiktoken's cl100k_base unless it is found; litellm's wheel carries it.
_litellm = importlib.util.find_spec("litellm")
assert _litellm is not None and _litellm.origin is not None
os.environ.setdefault(
    "TIKTOKEN_CACHE_DIR", str(Path(_litellm.origin).parent / "litellm_core_utils" / "tokenizers")
)

from bespokelabs import curator  # noqa: E402 - reads the variables above when imported

UNLIMITED = 1_000_000_000  # a minute; without it a server that names no limits gets 200


class Ask(curator.LLM):  # type: ignore[misc]
    def prompt(self, row: dict[str, Any]) -> Any:
        return row["prompt"]

    def parse(self, row: dict[str, Any], response: str) -> dict[str, Any]:
        return {"prompt": row["prompt"], "answer": response}


def main() -> None:
    job = Job.from_command_line()
    ask = Ask(
        model_name=MODEL,
        backend="openai",
        generation_params={"temperature": 0.0, "max_tokens": MAX_TOKENS},
        backend_params={
            "base_url": job.url,
            "api_key": "none",
            "max_concurrent_requests": job.concurrency,
            "max_requests_per_minute": UNLIMITED,
            "max_tokens_per_minute": UNLIMITED,
        },
    )
    answers = ask(job.rows(), working_dir="cache").dataset
    job.write((row["prompt"], row["answer"]) for row in answers)


if __name__ == "__main__":
    main()
