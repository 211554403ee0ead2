"""Where Microsoft's SDK begins: imported late, quiet, without telemetry, or not there at all."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from mwalimu.azure.cloud.backend import CloudClient, open_cloud
from mwalimu.azure.cloud.sdk import default_credential, open_client, sdk
from mwalimu.errors import ConfigError, MissingDependency
from tests.azure.cloud.answers import FakeAzure
from tests.azure.cloud.fake_azure import FakeCredential

SOURCE = Path(__file__).parents[3] / "src"


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"PYTHONPATH": str(SOURCE), "HOME": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_of_it_is_imported_before_it_is_used(tmp_path: Path) -> None:
    code = (
        "import sys, mwalimu.azure.cloud.backend\n"
        "print(sorted(n for n in sys.modules if n.split('.')[0] in ('azure', 'marshmallow')))"
    )
    ended = python(code, tmp_path)
    assert (ended.stdout.strip(), ended.stderr) == ("[]", "")


def test_it_says_nothing_even_where_warnings_are_errors(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        '{"subscription_id": "s", "resource_group": "g", "workspace_name": "w"}'
    )
    code = (
        "from mwalimu.azure.cloud.backend import open_cloud\n"
        "from mwalimu.azure.cloud.native import native_job\n"
        "from mwalimu.azure.cloud.request import Endpoint, NativeRequest\n"
        "print(open_cloud(credential=object()).workspace)\n"
        "native_job(NativeRequest('NLI', Endpoint('t', 'https://t'), 's', 't', 'v', 'e'))"
    )
    ended = python(code, tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "w\n", "")


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.ai.ml", None)
    with pytest.raises(MissingDependency, match=r"pip install 'mwalimu\[azure\]'"):
        open_cloud(path=tmp_path)
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    with pytest.raises(MissingDependency, match=r"pip install 'mwalimu\[azure\]'"):
        default_credential()


def test_telemetry_is_off_in_a_notebook_too(
    azure: FakeAzure, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK sends it from notebooks: with this one thinking it is in one, it still does not."""
    sdk()
    from azure.ai.ml._telemetry import logging_handler

    started: list[object] = []
    monkeypatch.setattr(logging_handler, "in_jupyter_notebook", lambda: True)
    monkeypatch.setattr(logging_handler, "setup_azure_monitor", started.append)
    logger = logging.getLogger("azure.ai.ml._telemetry")
    before = list(logger.handlers)
    open_client(FakeCredential(), path=workspace)
    logger.handlers[:] = before
    assert started == []
    assert azure.exchanges == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", r"config\.json: is not valid JSON"),
        ('{"workspace_name": "w"}', r"config\.json: .*required parameters"),
    ],
)
def test_a_workspace_s_file_that_is_none(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=said):
        open_cloud(path=tmp_path, credential=FakeCredential())


def test_the_client_of_the_tutorial_opens_it(azure: FakeAzure, workspace: Path) -> None:
    from mwalimu.azure import MLClient

    client = MLClient.from_config(FakeCredential(), backend="azure", compute="gpu-cluster")
    assert isinstance(client, CloudClient)
    assert client.workspace == "ws-1"
