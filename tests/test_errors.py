import pickle

from mwalimu import errors
from mwalimu.errors import DiskFull, MwalimuError


def kinds() -> list[type[MwalimuError]]:
    return [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, MwalimuError)]


def test_every_kind_stands_in_the_drawn_tree_with_its_exit_code() -> None:
    tree = errors.__doc__ or ""
    for kind in kinds():
        line = next(line for line in tree.splitlines() if f"{kind.__name__} " in line)
        assert line.split(kind.__name__)[1].split()[0] == str(kind.exit_code)


def test_message_says_where_what_and_the_fix() -> None:
    for kind in kinds():
        error = kind("is broken", where="a.jsonl:3", fix="mend it")
        assert str(error) == "a.jsonl:3: is broken; mend it"


def test_errors_cross_process_borders() -> None:
    error = pickle.loads(pickle.dumps(DiskFull("no space", where="x", fix="free some")))  # noqa: S301
    assert isinstance(error, DiskFull) and str(error) == "x: no space; free some"
