"""An export behind the command, asked by OpenAI's client, against its decoder asked directly."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import openai

from mwalimu.config import TargetConfig
from mwalimu.data.batched_generation import read_ids
from mwalimu.data.loading import load_tokenizer
from mwalimu.data.tokenize import encode_prompt, prepare_tokenizer
from mwalimu.export.make import make
from mwalimu.runtimes import load_decoder
from mwalimu.runtimes.generation import greedy
from tests.serving.running import free_port
from tests.tiny import make_tiny_model

SAID = [{"role": "user", "content": "hello"}]


def healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health") as response:
            return bool(response.status == 200)
    except urllib.error.URLError:
        return False


def test_a_command_serves_an_onnx_export(tmp_path: Path) -> None:
    student = make_tiny_model(tmp_path / "student", hidden=128, spread=0.3)
    export = make(student, tmp_path / "onnx", TargetConfig(to="onnx", precision="fp32"))
    tokenizer = load_tokenizer(str(tmp_path / "onnx"))
    prepare_tokenizer(tokenizer)
    prompt = encode_prompt(tokenizer, SAID)
    ids = greedy(load_decoder(tmp_path / "onnx"), [prompt], ends=export.ends, max_tokens=24)[0]
    expected = read_ids(tokenizer, ids, export.ends).text
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "mwalimu", "serve", str(tmp_path / "onnx")]
    command += ["--port", str(port), "--slots", "2"]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        end = time.monotonic() + 120
        while not healthy(url):
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.05)
        options: Any = {"model": "onnx", "messages": SAID, "temperature": 0, "max_tokens": 24}
        with openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client:
            whole = client.chat.completions.create(**options)
            parts = list(client.chat.completions.create(stream=True, **options))
        if (maps := Path(f"/proc/{process.pid}/maps")).exists():
            assert "libonnx" in maps.read_text() or "onnxruntime" in maps.read_text()
            assert "libtorch" not in maps.read_text()
    finally:
        process.terminate()
    assert process.wait(60) == 0
    assert whole.choices[0].message.content == expected
    assert "".join(part.choices[0].delta.content or "" for part in parts) == expected
