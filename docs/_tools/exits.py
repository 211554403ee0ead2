"""The page of exit codes: the tree of errors, as `errors.py` draws it, and where each is told."""

from __future__ import annotations

from collections.abc import Iterator

from docs._tools.wording import code, table

from mwalimu import errors
from mwalimu.cli import STOPPED

HEAD = """\
# Exit codes
Derived from `mwalimu/errors.py`. An error is one line on standard error: what is wrong, where,
and what to do. 0 is success, also of a command that found its work done already. A script may go
by the code alone; in Python the same kinds are classes of `mwalimu.errors`.

"""


def kinds(base: type[errors.MwalimuError] = errors.MwalimuError) -> Iterator[type]:
    """Every kind of error, a kind before those below it."""
    yield base
    for kind in base.__subclasses__():
        yield from kinds(kind)


def page() -> str:
    by_code: dict[int, list[str]] = {}
    for kind in kinds():
        by_code.setdefault(kind.exit_code, []).append(kind.__name__)  # type: ignore[attr-defined]
    rows = [(str(one), ", ".join(map(code, names))) for one, names in sorted(by_code.items())]
    rows += [(str(errors.BUG), "a bug of mwalimu, with a request to report it")]
    rows += [(str(STOPPED), "stopped by Ctrl-C; the same command goes on")]
    drawn = (errors.__doc__ or "").split("\n\n", 1)[1].strip()
    return f"{HEAD}{table(['code', 'error'], rows)}\n\n## The tree\n```\n{drawn}\n```\n"
