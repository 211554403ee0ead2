"""The import direction of docs/architecture.md, kept by walking the syntax trees."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "mwalimu"
ROWS = (
    {"errors", "files", "config", "progress", "run", "registry", "telemetry", "garbage"},
    {"data", "signals"},
    {"objectives", "teachers", "runtimes"},
    {"preparation", "synthesis", "curation", "finetune", "evaluation", "export"},
    {
        "report",
        "arms",
        "judging",
        "quickstart",
        "doctor",
        "estimate",
        "starter",
        "choosing",
        "scale",
        "serving",
        "shipping",
        "upkeep",
    },
    {"pipeline"},
    {"tuning", "buying"},
    {"auto"},
    {"api"},
    {"jobs"},
    {"azure"},
    {"commands"},
    {"cli"},
    {"__main__"},
)
LEVEL = {room: level for level, rooms in enumerate(ROWS) for room in rooms}
FILES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    names = []
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return {n.split(".")[1] for n in names if n.startswith("mwalimu.")} & LEVEL.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_to_lower_rows_only(path: Path) -> None:
    room = room_of(path)
    assert room in LEVEL, f"give {room} a row in ROWS and in docs/architecture.md"
    foreign = imported_rooms(path) - {room}
    # In their own row all rest on errors and files, and config on registry.
    allowed = {r for r in LEVEL if LEVEL[r] < LEVEL[room]} | {"errors", "files"}
    allowed |= {"registry"} if room == "config" else set()
    assert foreign <= allowed


def imported_files(path: Path) -> set[Path]:
    """Of this package, lazily and for typing too; of a package, its __init__.py."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mwalimu."):
            base = PACKAGE.joinpath(*str(node.module).split(".")[1:])
            for alias in node.names:
                places = (base / f"{alias.name}.py", base / alias.name / "__init__.py")
                places += (base.with_suffix(".py"), base / "__init__.py")
                found.add(next(place for place in places if place.exists()))
    return found - {path}


def test_no_two_files_import_each_other() -> None:
    sorter = TopologicalSorter({path: imported_files(path) for path in FILES})
    sorter.prepare()  # raises CycleError, which names the files


def test_peft_is_imported_by_those_who_need_it_alone() -> None:
    """It takes a fifth of the start of every process that trains."""
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert "peft" not in ast.unparse(node).split(), path


def test_no_pickle_and_no_relative_imports() -> None:
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert all(a.name.split(".")[0] not in ("pickle", "dill") for a in node.names), path
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0 and node.module != "pickle", path
            if isinstance(node, ast.Attribute) and ast.unparse(node) in (
                "torch.save",
                "torch.load",
            ):
                raise AssertionError(f"{path} pickles")
