"""One tiny model and one running server for most tests of the room."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.running import Running, running
from tests.tiny import make_tiny_model


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("served") / "tiny", spread=0.3)


@pytest.fixture(scope="session")
def server(folder: Path) -> Iterator[Running]:
    with running(folder) as one:
        yield one
