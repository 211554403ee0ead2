"""The commands of the templates are commands of this version."""

import pytest

from tests.deploy.commands import DEPLOY, ROOT, documents, in_text, in_values, parse, templates

PAGE = ROOT / "docs" / "deploy.md"


def found() -> list[list[str]]:
    texts = [*templates(".sbatch"), *templates(".yaml"), DEPLOY / "Dockerfile", PAGE]
    words = [one for path in texts for one in in_text(path.read_text(encoding="utf-8"))]
    for path in templates(".yaml"):
        words += in_values(documents(path))
    return words


FOUND = found()


def test_the_templates_name_what_is_for_clusters() -> None:
    assert len(FOUND) > 12
    verbs = {words[0] for words in FOUND}
    assert {"generate", "curate", "finetune", "server", "serve"} <= verbs


@pytest.mark.parametrize("words", FOUND, ids=" ".join)
def test_each_command_is_understood(words: list[str]) -> None:
    parse(words)


@pytest.mark.parametrize(
    "words", [["serve"], ["finetune", "c", "--nodes", "2"], ["teach"], ["data", "weigh", "x"]]
)
def test_what_is_no_command_would_be_noticed(words: list[str]) -> None:
    with pytest.raises(Exception, match=r"(?i)missing|no such"):
        parse(words)
