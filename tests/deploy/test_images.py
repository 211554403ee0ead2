"""The image, and what is run of it on one machine."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.deploy.commands import DEPLOY, ROOT

DOCKERFILE = DEPLOY / "Dockerfile"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SCHEMA = Path(__file__).parent / "schemas" / "compose.json"
LINES = DOCKERFILE.read_text(encoding="utf-8").splitlines()


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_runs_as_nobody_and_holds_no_secret() -> None:
    users = [line.split()[1] for line in LINES if line.startswith("USER ")]
    assert users == ["10001"]
    assert not re.search(r"(KEY|TOKEN|SECRET|PASSWORD)", "\n".join(LINES))
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line[1:] for line in ignored if line.startswith("!")}
    assert ignored[1] == "*"
    copied = [line.split()[1:-1] for line in LINES if re.match(r"COPY (?!--from)", line)]
    assert {name for names in copied for name in names} == kept
    assert all((ROOT / name).exists() for name in kept)


def test_the_versions_are_those_of_the_lock(tmp_path: Path) -> None:
    """The command that takes the hashes out of it, as the image runs it."""
    text = DOCKERFILE.read_text(encoding="utf-8")
    found = re.search(r"&& (sed -n .* requirements/lock.txt) > versions.txt", text)
    assert found
    done = subprocess.run(
        ["sh", "-c", found[1]], cwd=ROOT, capture_output=True, text=True, check=True
    )
    versions = done.stdout.split()
    locked = (ROOT / "requirements" / "lock.txt").read_text(encoding="utf-8")
    assert len(versions) == len(re.findall(r"(?m)^\S+==", locked))
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[\w.+!-]+", version) for version in versions)


def test_the_extras_that_the_file_names_are_some() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = re.findall(r"EXTRAS=([\w,]+)", DOCKERFILE.read_text(encoding="utf-8"))
    assert named and {one for names in named for one in names.split(",")} <= set(
        project["optional-dependencies"]
    )


def test_compose_is_by_its_specification() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(COMPOSE, json.loads(SCHEMA.read_bytes()))


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_service_listens_on_loopback_and_takes_keys_from_outside(name: str) -> None:
    service = COMPOSE["services"][name]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert all("=" not in variable for variable in service["environment"])
    assert service["cap_drop"] == ["ALL"]
    port = service["ports"][0].split(":")[-1]
    assert service["healthcheck"]["test"][-1] == f"http://127.0.0.1:{port}/health"
    volumes = {volume.split(":")[0] for volume in service["volumes"]}
    assert volumes <= set(COMPOSE["volumes"])
    context = (DEPLOY / service["build"]["context"]).resolve()
    assert context == ROOT and (context / service["build"]["dockerfile"]).is_file()
