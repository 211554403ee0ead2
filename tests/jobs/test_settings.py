from pathlib import Path

import pytest

from mwalimu.errors import ConfigError
from mwalimu.jobs.records import Role
from mwalimu.jobs.settings import Quota, Quotas, ServiceSettings, load_settings


def test_the_defaults_listen_here_only() -> None:
    settings = ServiceSettings()
    assert (settings.host, settings.tls_key, settings.slots) == ("127.0.0.1", None, {"cpu": 1})
    assert settings.allowed_teachers == () and settings.retention_days is None


def test_a_file_is_read_and_its_paths_are_its_folders(tmp_path: Path) -> None:
    (tmp_path / "server.yaml").write_text(
        "workspace: work\nslots: {cpu: 2, gpu: 1}\ntls_certificate: a.pem\ntls_key: /k.pem\n"
        "quotas: {queue: 7, default: {waiting: 3}, roles: {admin: {usd: 4.5}}}\n"
    )
    settings = load_settings(tmp_path / "server.yaml")
    assert settings.workspace == tmp_path / "work"
    assert (settings.tls_certificate, settings.tls_key) == (tmp_path / "a.pem", Path("/k.pem"))
    assert settings.slots == {"cpu": 2, "gpu": 1}
    assert settings.quotas.queue == 7


def test_a_role_has_its_own_quota_or_the_default() -> None:
    quotas = Quotas(default=Quota(waiting=3), roles={Role.ADMIN: Quota(waiting=None)})
    assert [quotas.of(role).waiting for role in (None, Role.SUBMITTER, Role.ADMIN)] == [3, 3, None]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lease: 3", "lease: unknown key, did you mean 'lease_s'?"),
        ("quotas: {default: {wating: 3}}", "did you mean 'waiting'?"),
        ("quotas: {roles: {root: {}}}", "quotas.roles.root"),
        ("tls_key: a.pem", "tls_certificate and tls_key go together"),
        ("slots: {cpu: -1}", "slots: give each resource a number"),
        ("slots: {}", "slots: give each resource a number"),
        ("lease_s: 0", "lease_s: "),
        ("- a", "is not a mapping"),
        ("a: [", "is not valid YAML"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "server.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(tmp_path / "server.yaml")
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert "server.yaml" in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing.yaml: no such config file"):
        load_settings(tmp_path / "nothing.yaml")
