"""Every error a user can meet: what is wrong, where, what to do; each kind has its exit code.

MwalimuError                    1
├── ConfigError                 2   distill.yaml or an option: unknown key, contradiction
├── DataError                   3   input rows; carries every bad row of the file, not the first
├── TeacherError                4   the teacher cannot be used at all
│   ├── TeacherUnreachable      4   no answer from the server
│   ├── TeacherRefusesKey       4   401, 403, or the key is missing
│   └── UnknownTeacherModel     4   the server or the folder has no such model
├── StudentError                5   the student cannot be loaded, or cannot hold the rows
├── TrainingError               6   training cannot go on
│   ├── NonFiniteLoss           6   NaN or infinity, caught before the optimiser step
│   ├── NoTargetTokens          6   nothing left to learn after truncation
│   └── OutOfMemory             6   of the GPU or the machine; the checkpoints are whole
├── RunError                    8   the run folder does not fit the request, or was damaged
│   ├── SignalMismatch          8   a teacher's signals are of another teacher, tokenizer or text
│   └── Misplaced               8   this node of a cluster lacks the run's folder, or our version
├── TooFewAnswers               9   the share of accepted answers is below generate.min_ok
├── MissingDependency          10   an optional package is needed
├── BudgetReached              11   a cap of the budget; what was bought is kept
├── GateFailed                 12   the student misses evaluate.require; the scores are published
└── MachineError               13   the disk cannot be read or written, or a limit of the machine
    └── DiskFull                7   what is on disk is whole; free some space, run again
Ctrl-C ends with 130; a bug of ours with 70 and a request to report it.
"""

from __future__ import annotations

import errno
import os

BUG = 70
"""The exit code of a bug of ours."""


class MwalimuError(Exception):
    """A failure that the user can understand and mend.

    Args:
        what: what is wrong, without a full stop.
        where: file:line, config key or URL; never a secret.
        fix: what to do about it.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what, where, fix)
        self.what = what
        self.where = where
        self.fix = fix

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.where, self.fix)

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}; {self.fix}" if self.fix else head


def _rebuild(kind: type[MwalimuError], what: str, where: str, fix: str) -> MwalimuError:
    return kind(what, where=where, fix=fix)


class ConfigError(MwalimuError, ValueError):
    exit_code = 2


class DataError(MwalimuError, ValueError):
    exit_code = 3


class TeacherError(MwalimuError):
    exit_code = 4


class TeacherUnreachable(TeacherError, ConnectionError):
    pass


class TeacherRefusesKey(TeacherError, PermissionError):
    pass


class UnknownTeacherModel(TeacherError, LookupError):
    pass


class StudentError(MwalimuError):
    exit_code = 5


class TrainingError(MwalimuError):
    exit_code = 6


class NonFiniteLoss(TrainingError, ArithmeticError):
    pass


class NoTargetTokens(TrainingError, ValueError):
    pass


class OutOfMemory(TrainingError, MemoryError):
    pass


class MachineError(MwalimuError, OSError):
    exit_code = 13

    def __str__(self) -> str:  # OSError's own would print a tuple
        return MwalimuError.__str__(self)


class DiskFull(MachineError):
    exit_code = 7


class RunError(MwalimuError):
    exit_code = 8


class SignalMismatch(RunError):
    pass


class Misplaced(RunError):
    pass


class TooFewAnswers(MwalimuError):
    exit_code = 9


class MissingDependency(MwalimuError, ImportError):
    exit_code = 10


class BudgetReached(MwalimuError):
    exit_code = 11


class GateFailed(MwalimuError):
    exit_code = 12


def explained(error: Exception, where: str = "") -> MwalimuError | None:
    """One of these, or what the machine refused, as the user is told of it; else None."""
    if isinstance(error, MwalimuError):
        return error
    return machine_error(error, where) if isinstance(error, OSError) else None


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_AGAIN = "and run the same command again; nothing finished is lost"
_DISK = "look at the disk: 'mwalimu runs verify' tells what is whole"
_FILES = f"raise the limit ('ulimit -n 65536') {_AGAIN}"
_RIGHTS = f"see who may read and write there {_AGAIN}"
_MEMORY = f"end what else takes the machine {_AGAIN}"
_REFUSALS = {
    errno.EIO: ("the disk cannot be read or written", _DISK),
    errno.ESTALE: ("the disk cannot be read or written", _DISK),
    errno.EMFILE: ("too many open files", _FILES),
    errno.ENFILE: ("too many open files on this machine", _FILES),
    errno.EACCES: ("no permission", _RIGHTS),
    errno.EPERM: ("no permission", _RIGHTS),
    errno.EROFS: ("the disk is read-only", _RIGHTS),
    errno.ENOMEM: ("the machine has no memory left", _MEMORY),
}


def machine_error(error: OSError, where: str = "") -> MachineError | None:
    """What the disk or the machine refused, and what to do; None where it may be our own fault."""
    if not where and isinstance(error.filename, str | bytes):
        where = os.fsdecode(error.filename)
    if error.errno in _FULL:
        fix = f"free some space {_AGAIN}"
        return DiskFull("no space left on the disk", where=where, fix=fix)
    if error.errno not in _REFUSALS:
        return None
    what, fix = _REFUSALS[error.errno]
    return MachineError(what, where=where, fix=fix)
