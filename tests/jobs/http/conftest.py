from __future__ import annotations

from collections.abc import Iterator

import pytest

from mwalimu.jobs.settings import DEFAULTS
from tests.jobs.http.configs import ROWS, SECRET
from tests.jobs.service import Running, running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("service") / "workspace") as found:
        yield found


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    settings = DEFAULTS.model_copy(update={"allowed_teachers": ("https://allowed.example/v1",)})
    folder = tmp_path_factory.mktemp("attacked")
    (folder / "secret.txt").write_text(SECRET)
    (folder / "workspace" / "jobs").mkdir(parents=True)
    with running(folder / "workspace", settings=settings) as found, found.client() as client:
        assert client.put("/v1/datasets/good", content=ROWS).status_code == 201
        yield found
