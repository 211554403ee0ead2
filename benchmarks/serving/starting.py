"""An export served by a process without torch, beside one with it: start, memory, an answer's cost.

    python benchmarks/serving/starting.py EXPORT [--rounds 5] [--requests 200]

EXPORT is a folder of `mwalimu export`, whose runtime is not torch. The other process is the same
server after `import torch`, as any server that imports transformers where torch is installed has
it. Seconds are until /health says yes; memory is resident, after the answers.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from statistics import median

SERVE = "from mwalimu.__main__ import main; main()"
ARMS = {"without torch": SERVE, "with torch": "import torch; " + SERVE}
CHAT = json.dumps(
    {
        "model": "student",
        "messages": [{"role": "user", "content": "Where is my order?"}],
        "max_tokens": 16,
        "temperature": 0,
    }
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("export", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=200)
    options = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ARMS}
    for _ in range(options.rounds):
        for name, program in ARMS.items():
            found[name].append(measured(program, options.export, options.requests))
    for name, rounds in found.items():
        line = {key: round(median(one[key] for one in rounds), 2) for key in rounds[0]}
        print(json.dumps({"server": name} | line))
    print("load average", *os.getloadavg())


def measured(program: str, export: Path, requests: int) -> dict[str, float]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", program, "serve", str(export), "--name", "student"]
    command += ["--port", str(port), "--threads", "1", "--slots", "1"]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            while not healthy(port):
                if process.poll() is not None:
                    sys.exit("the server ended before it served")
                time.sleep(0.02)
            ready, cpu = time.perf_counter() - began, cpu_seconds(process.pid)
            client = http.client.HTTPConnection("127.0.0.1", port)
            for _ in range(requests):
                client.request(
                    "POST", "/v1/chat/completions", CHAT, {"content-type": "application/json"}
                )
                answer = client.getresponse()
                answer.read()
                assert answer.status == 200
            asked = (cpu_seconds(process.pid) - cpu) / requests
            mib = resident_mib(process.pid)
        finally:
            process.terminate()
    return {"seconds": ready, "cpu_s": cpu, "resident_mib": mib, "cpu_ms_an_answer": asked * 1000}


def healthy(port: int) -> bool:
    with suppress(OSError, http.client.HTTPException):
        client = http.client.HTTPConnection("127.0.0.1", port)
        client.request("GET", "/health")
        return client.getresponse().status == 200
    return False


def cpu_seconds(pid: int) -> float:
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
