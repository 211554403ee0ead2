"""With a teacher that is served stage 1 runs without torch: a small machine is enough, at once."""

import json
import subprocess
import sys
from pathlib import Path

import yaml

from tests.synthesis.teacher_server import TeacherServer

PROGRAM = """
import sys
sys.modules["torch"] = sys.modules["transformers"] = None  # whoever imports them fails
from pathlib import Path
from mwalimu import api
config = api.load_config(Path("distill.yaml"))
api.generate(config, Path("run"))
api.curate(config, Path("run"))
"""


def test_answers_are_bought_and_curated(tmp_path: Path) -> None:
    rows = [{"messages": [{"role": "user", "content": f"what is {n}?"}]} for n in range(8)]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with TeacherServer() as server:
        teacher = {"model": "tiny", "base_url": server.url}
        job = {"task": "generic", "data": {"train": "p.jsonl"}, "teacher": teacher}
        job |= {"student": {"model": "microsoft/Phi-4-mini-instruct"}}
        (tmp_path / "distill.yaml").write_text(yaml.safe_dump(job))
        command = [sys.executable, "-c", PROGRAM]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kept = (tmp_path / "run" / "curate" / "train.jsonl").read_text().splitlines()
    assert len(kept) == 8
