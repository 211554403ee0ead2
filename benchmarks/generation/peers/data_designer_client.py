"""The job with NeMo Data Designer: resumes, no telemetry, no health check, no metrics port."""

from __future__ import annotations

import os

from job import MAX_TOKENS, MODEL, Job

os.environ["NEMO_TELEMETRY_ENABLED"] = "false"
# Else it writes its defaults into the home folder.
os.environ["DATA_DESIGNER_HOME"] = os.path.abspath("home")

import data_designer.config as dd
from data_designer.interface import DataDesigner


def main() -> None:
    job = Job.from_command_line()
    designer = DataDesigner(
        artifact_path="cache",
        model_providers=[dd.ModelProvider(name="local", endpoint=job.url, api_key="none")],
    )
    designer.set_run_config(dd.RunConfig(otel_metrics_port=None))
    results = designer.create(
        build(job),
        num_records=len(job.rows()),
        resume=dd.ResumeMode.IF_POSSIBLE,
    )
    results.export(job.out)


def build(job: Job) -> dd.DataDesignerConfigBuilder:
    model = dd.ModelConfig(
        alias="teacher",
        model=MODEL,
        provider="local",
        skip_health_check=True,
        inference_parameters=dd.ChatCompletionInferenceParams(
            temperature=0.0, max_tokens=MAX_TOKENS, max_parallel_requests=job.concurrency
        ),
    )
    builder = dd.DataDesignerConfigBuilder(model_configs=[model])
    builder.with_seed_dataset(dd.LocalFileSeedSource(path=str(job.prompts)))
    builder.add_column(
        dd.LLMTextColumnConfig(name="answer", prompt="{{ prompt }}", model_alias="teacher")
    )
    return builder


if __name__ == "__main__":
    main()
