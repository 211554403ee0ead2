"""On Azure's compute: `python -m mwalimu.azure.cloud.measure TASK MODEL ROWS RUN`

Asks the model in a folder the test rows, and publishes the scores in a run folder.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from mwalimu.errors import MwalimuError
from mwalimu.files import exclusive
from mwalimu.garbage import left_at_the_end
from mwalimu.run import Run


def measure(task: str, model: Path, rows: Path, folder: Path) -> None:
    """Raises DataError for rows without gold answers, StudentError for no model."""
    from mwalimu.data.dataset import load_records
    from mwalimu.jobs.workers import evaluation
    from mwalimu.progress import live_progress

    config = evaluation.config_of(model.absolute(), rows.absolute(), {"task": task})
    asked = load_records(rows, task=config.task, split="test")
    with exclusive(folder, "run folder"), live_progress() as progress:
        evaluation.measure(config, model, asked, Run(folder), depends_on=None, on_progress=progress)


def main(arguments: Sequence[str]) -> None:
    task, *places = arguments
    model, rows, folder = map(Path, places)
    try:
        measure(task, model, rows, folder)
    except MwalimuError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    left_at_the_end()
    main(sys.argv[1:])
