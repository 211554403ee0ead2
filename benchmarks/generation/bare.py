"""The ceiling: what one aiohttp session can do when nothing is stored safely or checked.

Its answers are appended to a file that nobody flushes: a kill loses some of them, and a rerun asks
everything again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import IO, Any

import aiohttp
import orjson
from peers.job import MAX_TOKENS, MODEL, Job


async def run(job: Job) -> None:
    headers = {"Content-Type": "application/json", "Authorization": "Bearer none"}
    connector = aiohttp.TCPConnector(limit=job.concurrency)
    with job.out.open("ab") as out:
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
            rows = iter(job.rows())
            workers = [worker(session, job.url, rows, out) for _ in range(job.concurrency)]
            await asyncio.gather(*workers)


async def worker(
    session: aiohttp.ClientSession, url: str, rows: Iterator[dict[str, Any]], out: IO[bytes]
) -> None:
    """Takes rows from the iterator that all workers share until it is empty."""
    for row in rows:
        prompt = row["prompt"]
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0.0,
            "max_tokens": MAX_TOKENS,
        }
        async with session.post(f"{url}/chat/completions", data=orjson.dumps(body)) as response:
            response.raise_for_status()
            answer = orjson.loads(await response.read())["choices"][0]["message"]["content"]
        out.write(orjson.dumps({"prompt": prompt, "answer": answer}) + b"\n")


if __name__ == "__main__":
    asyncio.run(run(Job.from_command_line()))
