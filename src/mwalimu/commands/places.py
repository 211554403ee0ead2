"""Jobs and run folders around here: completed by the shell, required, and suggested."""

from __future__ import annotations

from pathlib import Path

ROWS = {".jsonl", ".csv", ".tsv", ".parquet", ".arrow"}
_RUNS = ("runs/*", "quickstart/run", ".")
_JOBS = ("distill.yaml", "*/distill.yaml")
_SHOWN = 3


def run_folders(incomplete: str = "") -> list[str]:
    """Run folders that begin so, the newest first; none: the shell completes paths."""
    found = [manifest.parent for place in _RUNS for manifest in Path().glob(f"{place}/run.json")]
    found.sort(key=lambda folder: folder.stat().st_mtime, reverse=True)
    return [str(folder) for folder in found if str(folder).startswith(incomplete)]


def require_run(path: Path) -> None:
    """Raises RunError where `path` is no run folder, with those that may be meant."""
    if (path / "run.json").is_file() or (path / "config.yaml").is_file():
        return
    import difflib

    from mwalimu.errors import RunError

    there = run_folders()
    own = str(Path("runs") / path.resolve().parent.name)
    if path.is_file() and own in there:
        fix = f"the run of that job is {own!r}"
    elif near := difflib.get_close_matches(str(path), there, n=1):
        fix = f"did you mean {_either(near)}?"
    elif there:
        fix = f"there is {_either(there[:_SHOWN])}"
    else:
        fix = "make one with 'mwalimu run distill.yaml', or check the path"
    raise RunError("is no run folder", where=str(path), fix=fix)


def require_job(path: Path) -> None:
    """Raises ConfigError where `path` cannot be a distill.yaml, with the one that may be meant."""
    import difflib

    from mwalimu.errors import ConfigError

    inside = path / "distill.yaml"
    if inside.is_file():
        raise ConfigError("is a folder", where=str(path), fix=f"did you mean {str(inside)!r}?")
    if (path / "run.json").is_file():
        raise ConfigError("is a run folder", where=str(path), fix="name the job's distill.yaml")
    if path.is_dir():
        fix = f"make one with 'mwalimu init {path}'"
        raise ConfigError("is a folder without a distill.yaml", where=str(path), fix=fix)
    if path.suffix.lower() in ROWS:
        what, fix = "is a file of rows, no job", "data.train of a distill.yaml names it"
        raise ConfigError(what, where=str(path), fix=f"{fix}; make one with 'mwalimu init DIR'")
    if not path.exists() and (jobs := [str(j) for place in _JOBS for j in Path().glob(place)]):
        near = difflib.get_close_matches(str(path), jobs, n=_SHOWN) or sorted(jobs)[:_SHOWN]
        fix = f"did you mean {_either(near)}?"
        raise ConfigError("no such config file", where=str(path), fix=fix)


def _either(names: list[str]) -> str:
    return " or ".join(map(repr, names))
