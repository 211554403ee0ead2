import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mwalimu.azure.cloud.backend import CloudClient, open_cloud
from mwalimu.azure.cloud.sdk import sdk
from mwalimu.errors import MissingDependency
from tests.azure.cloud.answers import CONFIG, FakeAzure
from tests.azure.cloud.fake_azure import (
    FakeCredential,
    fake_azure,
    write_certificate,
)


@pytest.fixture(scope="session", autouse=True)
def unwarned() -> Iterator[None]:
    """The SDK reads its whole stack at each of its objects, for a warning that is not shown.

    Among as many modules as the tests have that is most of its time.
    """
    try:
        sdk()
    except MissingDependency:
        yield
        return
    from azure.ai.ml._utils import _experimental

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_experimental, "_should_skip_warning", lambda: True, raising=False)
        yield


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def azure(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAzure]:
    with fake_azure(*certificate, monkeypatch) as running:
        yield running


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that one works in, with a config.json; not in anybody's repository."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return tmp_path


@pytest.fixture
def cloud(azure: FakeAzure, workspace: Path) -> CloudClient:
    return open_cloud(path=workspace, credential=FakeCredential(), compute="gpu-cluster")
