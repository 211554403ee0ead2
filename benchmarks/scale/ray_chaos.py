"""Kills workers, nodes and the driver at random while stage 1 runs on a Ray cluster.

    python benchmarks/scale/ray_chaos.py --kills 50 --out chaos.json

Every job asks `--rows` prompts of a teacher that keeps a ledger. It is killed at random until it is
done, then the next begins, until there were so many kills. A job must lose nothing, publish the
bytes of a run without Ray that nobody disturbed, and buy nothing twice but what was in flight at a
kill: `places` for a worker, those of the workers on it for a node, all for the driver.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from nodes import Job, Nodes, scale_of
from processes import Client, MockTeacher

VICTIMS = ("worker", "node", "driver")
LIMIT_S = 600.0


@dataclass
class Seen:
    """Of one job. `allowed` is what may have been in flight at its kills."""

    kills: dict[str, int] = field(default_factory=lambda: dict.fromkeys(VICTIMS, 0))
    allowed: int = 0
    lost: int = 0
    repeated: int = 0
    same: bool = False
    seconds: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--places", type=int, default=8)
    parser.add_argument("--latency-ms", type=float, default=200.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    jobs: list[Seen] = []
    with Nodes(args.nodes) as nodes, tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        wanted = undisturbed(scratch / "whole", args)
        chance = random.Random(args.seed)
        while (left := args.kills - sum(sum(job.kills.values()) for job in jobs)) > 0:
            folder = scratch / f"job{len(jobs)}"
            jobs.append(Chaos(nodes, args, chance, folder).one(left, wanted))
            print(f"job {len(jobs)}: {asdict(jobs[-1])}", flush=True)
    kills = {victim: sum(job.kills[victim] for job in jobs) for victim in VICTIMS}
    print(
        f"{sum(kills.values())} kills ({kills}) over {len(jobs)} jobs of {args.rows} prompts: "
        f"{sum(job.lost for job in jobs)} lost, {sum(job.repeated for job in jobs)} asked again of "
        f"{sum(job.allowed for job in jobs)} that may have been in flight, "
        f"{sum(job.same for job in jobs)} of {len(jobs)} with the same bytes"
    )
    if args.out:
        args.out.write_text(json.dumps([asdict(job) for job in jobs], indent=1), encoding="utf-8")
    if any(job.lost or job.repeated > job.allowed or not job.same for job in jobs):
        raise SystemExit("not as promised")


def undisturbed(folder: Path, args: argparse.Namespace) -> str:
    """The digest of a run without Ray."""
    with MockTeacher(0.0) as teacher:
        job = Job(folder, args.rows, teacher.url, 64)
        job.prepare()
        if job.start().wait(LIMIT_S):
            raise SystemExit(job.log())
        return job.digest()


class Chaos:
    """One job, and what is done to it."""

    def __init__(
        self, nodes: Nodes, args: argparse.Namespace, chance: random.Random, folder: Path
    ) -> None:
        self.nodes, self.args, self.chance, self.folder = nodes, args, chance, folder
        self.seen = Seen()

    def one(self, most: int, wanted: str) -> Seen:
        started = time.monotonic()
        with MockTeacher(self.args.latency_ms) as teacher:
            scale = scale_of(self.nodes, self.args.nodes)
            job = Job(self.folder, self.args.rows, teacher.url, self.args.places, scale)
            job.prepare()
            client = job.start()
            while client.running():
                if self._waited(client, teacher) and sum(self.seen.kills.values()) < most:
                    client = self._kill(client, job)
            if client.wait(60.0):
                raise SystemExit(job.log())
            billed, _ = teacher.ledger()
        self.seen.lost = self.args.rows - len(set(billed))
        self.seen.repeated = len(billed) - len(set(billed))
        self.seen.same = job.digest() == wanted
        self.seen.seconds = time.monotonic() - started
        return self.seen

    def _waited(self, client: Client, teacher: MockTeacher) -> bool:
        """A random while after the first answer of this life; whether the job still runs."""
        before = teacher.count()
        while client.running() and teacher.count() == before:
            time.sleep(0.05)
        end = time.monotonic() + self.chance.uniform(0.0, 2.0)
        while client.running() and time.monotonic() < end:
            time.sleep(0.01)
        return client.running()

    def _kill(self, client: Client, job: Job) -> Client:
        """Ends with as many nodes as before and a driver that runs."""
        victim = self.chance.choice(VICTIMS)
        places, number = self.args.places, self.chance.randrange(1000)
        if victim == "worker":
            if not self.nodes.kill_worker(number):
                return client
            self.seen.allowed += places
        elif victim == "node":
            self.nodes.kill_node(number)
            self.nodes.mend()
            self.seen.allowed += places  # a node has room for one worker
        else:
            client.kill()
            client = job.start()
            self.seen.allowed += places * self.args.nodes
        self.seen.kills[victim] += 1
        return client


if __name__ == "__main__":
    main()
