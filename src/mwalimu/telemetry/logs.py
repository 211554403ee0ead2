"""A line of JSON an event, on the standard library's logging, redacted where it is written."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from mwalimu.errors import ConfigError
from mwalimu.telemetry import context
from mwalimu.telemetry.fields import FIELDS
from mwalimu.telemetry.redaction import redact, redacted

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
TEXT = ("prompt", "answer")
OURS = frozenset({"time", "level", "pid", "command", "run", "stage", "request", "trace", "span"})
"""Fields whose values are made here, of digits or of words that the code has: no secret fits in."""
LONGEST = 1 << 18
"""Bytes of a line at most: what is longer is left out, field by field, the longest first."""

DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR
DEEPEST = 10  # causes of an exception that are told

_LOG = logging.getLogger("mwalimu")
_file: LogFile | None = None


def begin(path: Path, level: str = "INFO", *, text: bool = False) -> None:
    """From now on everything that is logged in this process goes to `path` as well.

    Raises:
        ConfigError: it cannot be opened, or there is no such level.
    """
    global _file
    if level.upper() not in LEVELS:
        fix = f"name one of {', '.join(LEVELS)}"
        raise ConfigError(f"{level[:20]!r} is no level", where="MWALIMU_LOG_LEVEL", fix=fix)
    end()
    _file = LogFile(path, text=text)
    warn_on_stderr()  # with a handler of its own the root would not say warnings there any more
    root = logging.getLogger()
    root.addHandler(_file)
    root.setLevel(level.upper())
    _LOG.setLevel(level.upper())


def warn_on_stderr() -> None:
    """What other packages warn of is told there, and redacted, unless somebody sees to it."""
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(OnStderr(logging.WARNING))


def end() -> None:
    global _file
    if _file is not None:
        logging.getLogger().removeHandler(_file)
        _file.finish()
        _file = None


def is_on() -> bool:
    return _file is not None


def shows_text() -> bool:
    """Whether prompts and answers may be said."""
    return _file is not None and _file.text


def say(event: str, level: int = INFO, *, bug: BaseException | None = None, **fields: Any) -> None:
    """`fields` are some of FIELDS; nothing is written where no log was asked for.

    `bug` is told with where it came from.
    """
    if _file is not None and _LOG.isEnabledFor(level):
        _LOG.log(level, "%s", event, exc_info=bug, extra={"telemetry": fields})


def forward(record: logging.LogRecord) -> None:
    """For a logger that is heard nowhere else."""
    if _file is not None:
        _file.handle(record)


class OnStderr(logging.Handler):
    """What the standard library does where nobody asked for a log, redacted."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(redact(self.format(record)), file=sys.stderr)
        except Exception:
            return


class LogFile(logging.Handler):
    """One write a line at the end of the file, so that processes can share it.

    What cannot be written is left out, and that is said once on stderr: no job ends for its log.
    """

    def __init__(self, path: Path, *, text: bool = False) -> None:
        super().__init__()
        self.text = text
        self.path = path
        self.lost = 0
        self._torn = False
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
            self._descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            problem = os.strerror(error.errno or 0).lower()
            fix = "name a file that can be written"
            raise ConfigError(f"cannot be opened ({problem})", where=str(path), fix=fix) from None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = line_of(record, text=self.text)
            self._write((b"\n" if self._torn else b"") + line)
        except Exception as error:  # whatever it is, it is not the job's
            self._lose(error)

    def close(self) -> None:
        """Not here: whoever sets up logging of their own (uvicorn does) closes all handlers."""

    def finish(self) -> None:
        try:
            os.close(self._descriptor)
        except OSError as error:
            self._lose(error)
        super().close()

    def _write(self, line: bytes) -> None:
        written = os.write(self._descriptor, line)
        self._torn = written < len(line)
        if self._torn:
            self._lose(OSError("no space left on the disk"))

    def _lose(self, error: Exception) -> None:
        self.lost += 1
        if self.lost == 1:
            why = redact(str(error) or type(error).__name__)
            try:
                print(f"the log cannot be written ({why}): lines are left out", file=sys.stderr)
            except (OSError, ValueError):
                return


def line_of(record: logging.LogRecord, *, text: bool) -> bytes:
    own = getattr(record, "telemetry", None)
    fields: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
        "level": record.levelname,
        "event": record.getMessage(),
        "logger": record.name,
        "pid": record.process,
        **context.fields(),
        **(own or {}),
    }
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        fields["error"] = type(error).__name__
        fields["traceback"] = _traceback(error, text=text)
    known = {
        name: value if name in OURS else redacted(value)
        for name, value in fields.items()
        if name in FIELDS and value is not None and (text or name not in TEXT)
    }
    return _fitting(known)


def _fitting(fields: dict[str, Any]) -> bytes:
    line = _dumped(fields)
    while len(line) > LONGEST:
        longest = max(fields, key=lambda name: len(str(fields[name])))
        fields = {**fields, longest: "[too long]"}
        line = _dumped(fields)
    return line


def _dumped(fields: dict[str, Any]) -> bytes:
    """Non-finite numbers become null: JSON has none. Half a surrogate pair becomes its escape."""
    try:
        return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        line = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
        return line.encode("utf-8", "backslashreplace") + b"\n"


def _traceback(error: BaseException, *, text: bool) -> str:
    """Where it came from, through all its causes; its own words may hold what a row says."""
    if text:
        return "".join(traceback.format_exception(error))
    parts, one = [], error
    while True:
        frames = traceback.extract_tb(one.__traceback__)
        lines = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        parts.append("\n".join([*lines, type(one).__name__]))
        before = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
        if before is None or len(parts) == DEEPEST:
            return "\ncaused by\n".join(parts)
        one = before
