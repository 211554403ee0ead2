"""A student in Chromium against the same file in Python: seconds to load, tokens a second, bytes.

    python benchmarks/export/web.py runs/quickstart/finetune/student --precision int4

Greedy answers to the same prompts, one at a time; Chromium is given what a static server without
special headers gives (one thread), and then an isolated page (threads). Python is given the same
numbers of threads. Needs Chromium, and the npm registry once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.export.web.browser import opened, served

from mwalimu.config import TargetConfig
from mwalimu.data.loading import load_tokenizer
from mwalimu.data.tokenize import encode_prompt
from mwalimu.export.make import make
from mwalimu.runtimes import load_decoder, read_export
from mwalimu.runtimes.generation import greedy

ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
ASK = """new Promise((resolve) => {
  const listen = ({ data }) => {
    if (data.type !== "done" && data.type !== "failed") return;
    worker.removeEventListener("message", listen);
    resolve(data);
  };
  worker.addEventListener("message", listen);
  worker.postMessage({ type: "answer", messages: [{ role: "user", content: %s }] });
})"""


async def in_chromium(folder: Path, prompts: list[str], headers: dict[str, str]) -> dict[str, Any]:
    """The page's own worker script, driven without the page's drawing."""
    with served(folder, headers) as url:
        async with opened(url) as page:
            began = time.perf_counter()
            loaded = await page.run(
                """new Promise((resolve) => {
                  window.worker = new Worker("worker.js", { type: "module" });
                  worker.onmessage = ({ data }) => {
                    if (data.type === "ready" || data.type === "failed") resolve(data);
                  };
                  worker.postMessage({ type: "load", backend: "wasm" });
                })"""
            )
            assert loaded["type"] == "ready", loaded
            seconds = time.perf_counter() - began
            answers = [await page.run(ASK % json.dumps(prompt)) for prompt in prompts]
    ids = [one["ids"] for one in answers]
    rate = sum(map(len, ids)) / sum(one["seconds"] for one in answers)
    return {"load": seconds, "rate": rate, "ids": ids}


def in_python(folder: Path, prompts: list[str], threads: int) -> dict[str, Any]:
    made, tokenizer = read_export(folder), load_tokenizer(str(folder))
    began = time.perf_counter()
    decoder = load_decoder(folder, threads=threads)
    loaded, answers = time.perf_counter() - began, []
    spent = 0.0
    for prompt in prompts:
        ids = encode_prompt(tokenizer, [{"role": "user", "content": prompt}])
        room = min(512, made.context - len(ids))
        began = time.perf_counter()
        (answer,) = greedy(decoder, [ids], ends=made.ends, max_tokens=room)
        spent += time.perf_counter() - began
        answers.append(answer)
    return {"load": loaded, "rate": sum(map(len, answers)) / spent, "ids": answers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("student", type=Path)
    parser.add_argument("--rows", type=Path, help="JSON lines whose first message is asked")
    parser.add_argument("--prompts", type=int, default=20)
    parser.add_argument("--precision", default="int4")
    arguments = parser.parse_args()
    prompts = ["Where is my order 10342?"] * arguments.prompts
    if arguments.rows:
        rows = [json.loads(line) for line in arguments.rows.read_text().splitlines()]
        prompts = [row["messages"][0]["content"] for row in rows[: arguments.prompts]]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "web"
        make(arguments.student, folder, TargetConfig(to="web", precision=arguments.precision))
        facts = json.loads((folder / "student.json").read_text())["bytes"]
        whole = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(
            f"{arguments.precision}: folder {whole / 1e6:.1f} MB, loaded {facts['wasm'] / 1e6:.1f}"
        )
        expected = in_python(folder, prompts, 1)
        report("python, 1 thread", expected, expected)
        report("python, 2 threads", in_python(folder, prompts, 2), expected)
        for name, headers in (("chromium", {}), ("chromium, isolated", ISOLATED)):
            report(name, asyncio.run(in_chromium(folder, prompts, headers)), expected)


def report(name: str, found: dict[str, Any], expected: dict[str, Any]) -> None:
    pairs = zip(found["ids"], expected["ids"], strict=True)
    same = sum(a == b for a, b in pairs)
    print(
        f"{name:20} load {found['load']:.2f} s, {found['rate']:.1f} tokens/s, "
        f"{same} of {len(found['ids'])} answers equal Python's"
    )


if __name__ == "__main__":
    main()
