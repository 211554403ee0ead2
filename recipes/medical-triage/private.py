"""What keeps the notes where they are: `mask` before anything learns, `check` before anything runs.

    python private.py mask raw_example.jsonl masked.jsonl   # contact data out of every text
    python private.py check distill.yaml                    # exit code 2 if something could leave

`mask` finds what `mwalimu.data.privacy` finds: mail, telephone numbers, accounts, keys, addresses
of the net. Names and dates of birth it does not find: keep them out of the notes.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import orjson

from mwalimu import api
from mwalimu.config import Config
from mwalimu.data.privacy import mask
from mwalimu.data.readers import BadRow
from mwalimu.data.shards import Shards
from mwalimu.errors import MwalimuError
from mwalimu.files import atomic_writer

TEXTS = ("system", "prompt", "completion", "input", "output", "content")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    masking = commands.add_parser("mask", help="rows without contact data")
    masking.add_argument("rows", type=Path)
    masking.add_argument("out", type=Path)
    masking.add_argument("--region", default="US", help="whose phone numbers have no +prefix")
    checking = commands.add_parser("check", help="nothing that this job is set to do leaves")
    checking.add_argument("config", type=Path)
    checking.add_argument("--set", action="append", default=[], help="key=value")
    arguments = parser.parse_args()
    try:
        if arguments.command == "mask":
            print(mask_file(arguments.rows, arguments.out, arguments.region))
            return 0
        found = list(leaks(api.load_config(arguments.config, arguments.set), os.environ))
    except MwalimuError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    for line in found:
        print(f"error: {line}", file=sys.stderr)
    if not found:
        print(f"{arguments.config}: nothing leaves this machine")
    return 2 if found else 0


def mask_file(path: Path, out: Path, region: str = "US") -> str:
    """Writes the rows with placeholders such as [PHONE_1]; says how many had something to hide.

    Raises DataError naming every bad row; nothing is written then.
    """
    shards = Shards(path)
    rows, hidden, bad = 0, 0, []
    with atomic_writer(out) as handle:
        for _, row in shards.rows():
            if isinstance(row, BadRow):
                bad.append(row)
                continue
            masked = _masked(row, region)
            rows += 1
            hidden += masked != row
            handle.write(orjson.dumps(masked, option=orjson.OPT_APPEND_NEWLINE))
        if bad:
            raise shards.error(bad)
    return f"{out}: {rows} rows, contact data taken out of {hidden}"


def _masked(value: object, region: str, field: str = "") -> object:
    """The same row; a text of it counts where its field is one of `TEXTS`, at any depth."""
    if isinstance(value, dict):
        return {key: _masked(part, region, key) for key, part in value.items()}
    if isinstance(value, list):
        return [_masked(part, region, field) for part in value]
    return mask(value, region)[0] if isinstance(value, str) and field in TEXTS else value


def leaks(config: Config, environment: Mapping[str, str]) -> Iterator[str]:
    """Everything in the config or the environment by which a note could leave, a line each."""
    asked = {"teacher": config.teacher, "judge": config.judge}
    asked["generate.user_model"] = config.generate.user_model
    asked["curate.judge.teacher"] = config.curate.judge.teacher
    if config.ensemble is not None:
        asked |= {f"ensemble.others.{i}": one for i, one in enumerate(config.ensemble.others)}
        asked["ensemble.judge"] = config.ensemble.judge
    for key, teacher in asked.items():
        if teacher is not None and teacher.remote:
            yield f"{key}: {teacher.model} is a server, which reads the notes; name a folder"
    for name in set(config.finetune.track) - {"tensorboard"}:
        yield f"finetune.track: {name} sends what it shows; leave it out"
    if config.evaluate.load is not None and config.evaluate.load.url:
        yield "evaluate.load.url: a server is asked with test rows; leave it out"
    if config.data.privacy != "refuse":
        yield "data.privacy: set it to refuse, for the day when somebody names a server"
    if environment.get("MWALIMU_LOG_TEXT"):
        yield "$MWALIMU_LOG_TEXT: puts the notes into the log; unset it"
    if environment.get("HF_HUB_OFFLINE") != "1":
        yield "$HF_HUB_OFFLINE: a model's name is looked up on the hub; set it to 1"


if __name__ == "__main__":
    sys.exit(main())
