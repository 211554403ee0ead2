"""The job with distilabel: cache on. It has one batch in flight, so a batch is the concurrency."""

from __future__ import annotations

import os

from job import MAX_TOKENS, MODEL, Job

os.environ["HF_HOME"] = os.path.abspath("home")  # else runs meet in the user's cache

from distilabel.models.llms import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration


def main() -> None:
    job = Job.from_command_line()
    with Pipeline(name="generation", cache_dir="cache") as pipeline:
        load = LoadDataFromDicts(
            data=job.rows(),
            output_mappings={"prompt": "instruction"},
            batch_size=job.concurrency,
        )
        ask = TextGeneration(
            llm=OpenAILLM(
                model=MODEL,
                base_url=job.url,
                api_key="none",
                generation_kwargs={"temperature": 0.0, "max_new_tokens": MAX_TOKENS},
            ),
            input_batch_size=job.concurrency,
        )
        load >> ask
    answers = pipeline.run(use_cache=True)["default"]["train"]
    job.write((row["instruction"], row["generation"]) for row in answers)


if __name__ == "__main__":
    main()
