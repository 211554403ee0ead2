"""Where the service keeps everything; no name from a user becomes a path unchecked.

<root>/
  service.json           url, pid and certificate of the server that runs, written when it listens
  token                  an admin's, for programs of this user on this machine (mode 0600)
  webhook.secret         what the secrets of webhooks are derived from (mode 0600)
  service.db             jobs, leases, events, tokens, models, datasets, audit
  jobs/<name>/           run/ (the run folder), log.txt, worker (whose process has it), answers/
  models/<name>/<job>/   what a job registered
  datasets/<sha256>.jsonl
  removed/               what was deleted, until the disk has let go of it
  answers/               the answers that ended jobs have bought, for all later ones
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mwalimu.errors import ConfigError

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9_-])?")
"""Of a job, a model, a dataset: no separator, no leading or trailing dot."""
_STEM = 200  # characters: something may stand behind it


@dataclass(frozen=True, slots=True)
class Workspace:
    root: Path

    @property
    def database(self) -> Path:
        return self.root / "service.db"

    @property
    def service(self) -> Path:
        return self.root / "service.json"

    @property
    def token(self) -> Path:
        return self.root / "token"

    @property
    def webhook_secret(self) -> Path:
        return self.root / "webhook.secret"

    @property
    def nowhere(self) -> Path:
        """A folder that is never made. What a job's config names it names whole, so that to take
        it from here lets nothing win over a hub id, neither now nor when a worker looks again."""
        return self.root.absolute() / "nowhere"

    @property
    def answers(self) -> Path:
        return self.root / "answers"

    @property
    def datasets(self) -> Path:
        return self.root / "datasets"

    def job(self, name: str) -> Path:
        return self.root / "jobs" / checked_name(name)

    def run(self, name: str) -> Path:
        return self.job(name) / "run"

    def log(self, name: str) -> Path:
        return self.job(name) / "log.txt"

    def worker(self, name: str) -> Path:
        """See `holding`."""
        return self.job(name) / "worker"

    def model(self, name: str, job: str) -> Path:
        return self.root / "models" / checked_name(name) / checked_name(job)

    def dataset(self, sha256: str) -> Path:
        return self.datasets / f"{sha256}.jsonl"

    def told(self, text: str) -> str:
        """`text` for others: where the workspace is on the server is nobody's business."""
        return text.replace(f"{self.root.absolute()}{os.sep}", "")

    def remove(self, relative: str) -> None:
        """A dataset's file or a model's folder, as the store names it."""
        self._remove(self.root / relative)

    def remove_job(self, name: str) -> None:
        """Its files. What it registered stays."""
        self._remove(self.job(name))

    def sweep(self) -> None:
        """Takes away what was removed; a killed server may have left it."""
        for left in (self.root / "removed").glob("*"):
            _take_away(left)

    def _remove(self, path: Path) -> None:
        """Nothing is at `path` when this returns; the disk's own time for it nobody waits for."""
        aside = self.root / "removed" / secrets.token_hex(8)
        aside.parent.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            path.rename(aside)
            threading.Thread(target=_take_away, args=(aside,)).start()


def _take_away(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def drawn_name() -> str:
    """Of a job that nobody named."""
    return f"job-{secrets.token_hex(6)}"


def plain_name(text: str) -> str:
    """A NAME out of any text, with what is none left out."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("._-")[:_STEM] or "student"


def checked_name(name: str) -> str:
    """Raises ConfigError for what is no NAME."""
    if not NAME.fullmatch(name):
        raise ConfigError(
            "is no name",
            where=repr(name[:80]),
            fix="use letters, digits, dots, underscores and hyphens, a letter or digit first",
        )
    return name
