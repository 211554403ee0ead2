"""What a job spends while it spends it: its own requests and answers in its answer store."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from mwalimu.data.record import Json
from mwalimu.files import read_at
from mwalimu.synthesis.frames import ANSWER, SENT, read_frames
from mwalimu.synthesis.store import MAGIC, SEGMENT

PIECE = 1 << 26  # bytes; larger than any frame


class Spending:
    """Each look reads only what was appended since the last; the writer is not disturbed."""

    def __init__(self, answers: Path, run: Path) -> None:
        self.segment = answers / SEGMENT
        self.manifest = run / "run.json"
        self._read = len(MAGIC)
        self._requests = 0
        self._tokens = 0
        self._nano_usd = 0
        self._priced = True

    def look(self) -> Json | None:
        """{"usd", "requests", "tokens"}, `usd` None where a price is unknown.

        None before the run has an account, and where it cannot be read now.
        """
        with suppress(OSError, KeyError, ValueError):
            account = bytes.fromhex(json.loads(self.manifest.read_bytes())["id"])
            self._catch_up(account)
            usd = self._nano_usd / 1e9 if self._priced else None
            return {"usd": usd, "requests": self._requests, "tokens": self._tokens}
        return None

    def _catch_up(self, account: bytes) -> None:
        with open(self.segment, "rb") as handle:
            while data := read_at(handle.fileno(), PIECE, self._read):
                used = 0
                for frame in read_frames(data):
                    used = frame.offset + frame.length
                    if frame.run != account:
                        continue
                    if frame.kind == SENT:
                        self._requests += 1
                    elif frame.kind == ANSWER:
                        self._tokens += frame.cost.prompt + frame.cost.completion
                        self._nano_usd += frame.cost.nano_usd or 0
                        self._priced = self._priced and frame.cost.nano_usd is not None
                if not used:
                    return  # the rest is being written
                self._read += used
