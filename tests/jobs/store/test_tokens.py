from pathlib import Path

import pytest

from mwalimu.errors import ConfigError
from mwalimu.jobs.records import Owner, Role
from mwalimu.jobs.refusals import NotFound, WrongState
from mwalimu.jobs.store.database import Database
from mwalimu.jobs.store.tokens import USED_EVERY, TokenStore
from tests.jobs.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(tmp_path: Path, clock: Clock) -> TokenStore:
    return TokenStore(Database(tmp_path / "service.db"), clock=clock)


def test_a_token_is_its_owner(tokens: TokenStore) -> None:
    first = tokens.make("asha", Role.SUBMITTER)
    second = tokens.make("juma", Role.ADMIN)
    assert tokens.find(first) == Owner("asha", Role.SUBMITTER)
    assert tokens.find(second) == Owner("juma", Role.ADMIN)
    assert first != second and first.startswith("mw_") and len(first) == 46


@pytest.mark.parametrize("token", ["", "mw_", "mw_" + "A" * 43, "\0", "é", "\udcff", "x" * 10_000])
def test_what_is_no_token_is_nobodys(tokens: TokenStore, token: str) -> None:
    tokens.make("asha", Role.VIEWER)
    assert tokens.find(token) is None


def test_the_file_holds_no_token(tokens: TokenStore, tmp_path: Path) -> None:
    token = tokens.make("asha", Role.VIEWER)
    tokens.find(token)
    held = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"asha" in held
    assert token.encode() not in held and token.removeprefix("mw_").encode() not in held


def test_an_expired_token_is_refused(tokens: TokenStore, clock: Clock) -> None:
    token = tokens.make("asha", Role.VIEWER, expires=2_000.0)
    clock.now = 1_999.0
    assert tokens.find(token)
    clock.now = 2_000.0
    assert tokens.find(token) is None
    with pytest.raises(ConfigError, match="expires: has passed"):
        tokens.make("juma", Role.VIEWER, expires=2_000.0)


def test_a_revoked_token_is_refused_and_its_name_is_free(tokens: TokenStore) -> None:
    token = tokens.make("asha", Role.VIEWER)
    with pytest.raises(WrongState, match="asha: there is a token of that name"):
        tokens.make("asha", Role.ADMIN)
    tokens.revoke("asha")
    assert tokens.find(token) is None
    with pytest.raises(NotFound):
        tokens.revoke("asha")
    assert tokens.find(tokens.make("asha", Role.ADMIN)) == Owner("asha", Role.ADMIN)


def test_last_used_is_coarse(tokens: TokenStore, clock: Clock) -> None:
    token = tokens.make("asha", Role.VIEWER)
    assert tokens.all()[0].last_used is None
    seen = []
    for step in (0, USED_EVERY / 2, USED_EVERY):
        clock.now = 1_000.0 + step
        tokens.find(token)
        seen.append(tokens.all()[0].last_used)
    assert seen == [1_000.0, 1_000.0, 1_000.0 + USED_EVERY]


def test_who_cannot_be_noted_is_let_in(tokens: TokenStore) -> None:
    token = tokens.make("asha", Role.VIEWER)
    with tokens.database.read() as db:
        db.execute("PRAGMA query_only = ON")
    assert tokens.find(token) == Owner("asha", Role.VIEWER)
    assert tokens.all()[0].last_used is None


def test_a_name_is_checked(tokens: TokenStore) -> None:
    with pytest.raises(ConfigError, match="is no name"):
        tokens.make("../asha", Role.VIEWER)
