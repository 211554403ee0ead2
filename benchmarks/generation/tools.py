"""The tools that are compared: where they are installed, how they are called, what they leave."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PROMPTS, OUT = "prompts.jsonl", "out.jsonl"  # in the scratch folder of a run


@dataclass(frozen=True)
class Tool:
    """`requirements` are of an environment of its own; None: the one that runs the benchmark."""

    name: str
    script: str | None
    requirements: str | None
    packages: tuple[str, ...]

    def python(self, venvs: Path | None) -> Path:
        if self.requirements is None:
            return Path(sys.executable)
        return (venvs or Path("no-venvs")) / self.name / "bin" / "python"

    def absent(self, venvs: Path | None) -> str:
        """Why it cannot run, with the command that mends it; empty when it can."""
        if self.requirements is None:
            missing = self.script is None and not _mwalimu().is_file()
            return "not installed: `make install`" if missing else ""
        if venvs is not None and self.python(venvs.absolute()).is_file():
            return ""
        install = f"{script('measure.py')} install --venvs {venvs or 'DIR'} --tools {self.name}"
        return f"not installed: `{install}`" + ("" if venvs else ", then pass --venvs DIR")

    def command(self, venvs: Path | None, url: str, concurrency: int) -> list[str]:
        """Runs in a scratch folder; the same again is what a user does after a kill."""
        if self.script is None:
            return [str(_mwalimu()), "generate", "distill.yaml", "--run", "run"]
        python = self.python(venvs and venvs.absolute())
        options = ["--prompts", PROMPTS, "--url", url, "--concurrency", str(concurrency)]
        return [str(python), str(HERE / self.script), *options, "--out", OUT]

    def prepare(self, folder: Path, url: str, concurrency: int) -> None:
        if self.script is None:
            (folder / "distill.yaml").write_text(job_yaml(url, concurrency), encoding="utf-8")

    def answers(self, folder: Path) -> Iterator[tuple[str | None, str | None]]:
        """(prompt, answer) of each row of the output; none when there is no output."""
        path = folder / ("run/generate/train.jsonl" if self.script is None else OUT)
        if not path.is_file():
            return
        with path.open("rb") as lines:
            for line in lines:
                # A kill may cut the last line of a file that is appended to.
                if (row := _row(line)) is not None:
                    yield _pair(row)

    def versions(self, venvs: Path | None) -> dict[str, str]:
        code = (
            "import json, sys; from importlib.metadata import version;"
            "print(json.dumps({p: version(p) for p in sys.argv[1:]}))"
        )
        command = [str(self.python(venvs)), "-c", code, *self.packages]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return dict(json.loads(done.stdout))


TOOLS = {
    tool.name: tool
    for tool in (
        Tool("bare", "bare.py", None, ("aiohttp", "orjson")),
        Tool("ours", None, None, ("mwalimu", "aiohttp", "orjson")),
        Tool(
            "curator",
            "peers/curator_client.py",
            "requirements-curator.txt",
            ("bespokelabs-curator", "aiohttp", "litellm"),
        ),
        Tool(
            "distilabel",
            "peers/distilabel_client.py",
            "requirements-distilabel.txt",
            ("distilabel", "openai", "httpx2"),
        ),
        Tool(
            "data_designer",
            "peers/data_designer_client.py",
            "requirements-data-designer.txt",
            ("data-designer", "httpx"),
        ),
    )
}


def job_yaml(url: str, concurrency: int) -> str:
    """Stage 1 reads nothing of the student: any name will do."""
    return (
        "task: generic\n"
        f"data: {{train: {PROMPTS}}}\n"
        f"teacher: {{model: mock, base_url: {json.dumps(url)}, concurrency: {concurrency}}}\n"
        "student: {model: student-is-not-loaded}\n"
        "generate: {min_ok: 1.0}\n"
    )


def script(name: str) -> str:
    """The command line of a script of this folder, as seen from where the user stands."""
    path = HERE / name
    here = Path.cwd()
    return f"python {shlex.quote(str(path.relative_to(here) if here in path.parents else path))}"


def install(tools: list[Tool], venvs: Path) -> None:
    for tool in tools:
        if tool.requirements is None:
            continue
        folder = venvs / tool.name
        print(f"{tool.name}: {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        wanted = ["-r", str(HERE / tool.requirements)]
        subprocess.run([str(folder / "bin" / "pip"), "install", "-q", *wanted], check=True)


def _mwalimu() -> Path:
    return Path(sys.executable).with_name("mwalimu")


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _pair(row: dict[str, Any]) -> tuple[str | None, str | None]:
    if "messages" in row:
        return row["messages"][0]["content"], row["messages"][-1]["content"]
    return row.get("prompt"), row.get("answer")
