"""The registry of a process: on loopback, in a file, and nowhere where nobody asked."""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter

from mwalimu.errors import ConfigError
from mwalimu.telemetry import metrics


@pytest.fixture(autouse=True)
def _off_again() -> Iterator[None]:
    yield
    metrics.end()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def counted(registry: CollectorRegistry) -> Counter:
    return Counter("mwalimu_test_things", "things", registry=registry)


def asked(port: int, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/metrics", headers=headers)
    answer = connection.getresponse()
    found = answer.status, answer.read().decode()
    connection.close()
    return found


def test_nothing_is_counted_where_nobody_asked() -> None:
    assert not metrics.is_on() and metrics.collector(counted) is None


def test_what_is_counted_is_on_the_port_for_this_machine_alone() -> None:
    metrics.begin(port=(port := free_port()))
    first = metrics.collector(counted)
    assert first is not None and metrics.collector(counted) is first
    first.inc(3)
    status, text = asked(port)
    assert status == 200 and "mwalimu_test_things_total 3.0" in text
    assert asked(port, Host=f"localhost:{port}")[0] == 200
    for foreign in ({"Host": "evil.example"}, {"Host": f"127.0.0.1.evil:{port}"}):
        assert asked(port, **foreign)[0] == 403
    assert asked(port, Origin="https://evil.example")[0] == 403
    metrics.end()
    with pytest.raises(ConnectionRefusedError):
        asked(port)


def test_a_port_that_another_has_is_told() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        with pytest.raises(ConfigError, match=r"cannot listen on port \d+ \(address already"):
            metrics.begin(port=holder.getsockname()[1])


def test_the_file_is_whole_whenever_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "EVERY_S", 0.001)
    metrics.begin(file=(file := tmp_path / "m.prom"))
    one = metrics.collector(counted)
    assert one is not None
    for _ in range(300):
        one.inc()
        lines = file.read_text().splitlines()
        assert not lines or lines[-1].startswith("mwalimu_test_things_created"), lines
    metrics.end()
    assert "mwalimu_test_things_total 300.0" in file.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["m.prom"]


def test_a_folder_that_went_away_keeps_nobody_from_going_on(tmp_path: Path) -> None:
    (folder := tmp_path / "there").mkdir()
    metrics.begin(file=folder / "m.prom")
    (folder / "m.prom").unlink()
    os.rmdir(folder)
    metrics.end()


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be written \(no such file or directory\)"):
        metrics.begin(file=tmp_path / "none" / "m.prom")


def test_a_servers_own_registry_is_told_too(tmp_path: Path) -> None:
    own = CollectorRegistry()
    counted(own).inc()
    metrics.include(own)  # nobody asked
    metrics.begin(file=(file := tmp_path / "m.prom"))
    metrics.include(own)
    metrics.end()
    assert "mwalimu_test_things_total 1.0" in file.read_text()
