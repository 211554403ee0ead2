"""How large the rooms are: lines a file and a function, docstrings, annotations.

    python benchmarks/house.py [FOLDER ...]

Counted as in the comparison of docs/architecture.md: lines include blanks and comments, files of
five lines or fewer are left out of the median, a public function's name has no underscore first.
Without a folder: the package, its tests and the benchmarks of this checkout.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
SMALL_FILE = 5
LONG_FUNCTION, SCREEN = 100, 60

Function = ast.FunctionDef | ast.AsyncFunctionDef


class House(NamedTuple):
    files: list[int]
    functions: list[int]
    documented: float
    annotated: float

    def row(self, name: str) -> str:
        rooms = [lines for lines in self.files if lines > SMALL_FILE]
        cells = (
            name,
            f"{len(self.files)} / {sum(self.files):,}",
            f"{median(rooms):.0f} / {max(rooms)}",
            f"{median(self.functions):.0f} / {max(self.functions)}",
            str(sum(lines > SCREEN for lines in self.functions)),
            str(sum(lines > LONG_FUNCTION for lines in self.functions)),
            f"{self.documented:.0%} / {self.annotated:.0%}",
        )
        return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    folders = parser.parse_args().folders
    folders = folders or [ROOT / "src" / "mwalimu", ROOT / "tests", ROOT / "benchmarks"]
    print(
        "| folder | files / lines | median / max lines a file | median / max lines a function "
        f"| over {SCREEN} | over {LONG_FUNCTION} | documented / annotated |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|")
    for folder in folders:
        print(measured(folder).row(folder.name))


def measured(folder: Path) -> House:
    """Of all Python files under `folder`; raises SyntaxError for one that is none."""
    sources = [path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py"))]
    found = [function for source in sources for function in functions(ast.parse(source))]
    public = [function for function in found if not function.name.startswith("_")]
    return House(
        [len(source.splitlines()) for source in sources],
        [int(function.end_lineno or 0) - function.lineno + 1 for function in found],
        _share(ast.get_docstring(function) is not None for function in public),
        _share(function.returns is not None for function in public),
    )


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def _share(marks: Iterator[bool]) -> float:
    of = list(marks)
    return sum(of) / len(of) if of else 0.0


if __name__ == "__main__":
    main()
