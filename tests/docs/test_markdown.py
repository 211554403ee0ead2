"""Names of pages become links, and lists and tables get the blank line that Markdown wants."""

from __future__ import annotations

import pytest
from docs._tools.markdown import linked, spaced

THERE = {"log.md", "export/web.md", "figures/a.svg"}


@pytest.mark.parametrize(
    ("page", "text", "expected"),
    [
        ("index.md", "see `docs/log.md`.", "see [`log.md`](log.md)."),
        ("howto/ray.md", "(docs/log.md)", "([log.md](../log.md))"),
        ("export/gguf.md", "as docs/export/web.md says", "as [export/web.md](web.md) says"),
        ("index.md", "`docs/figures/a.svg`", "[`figures/a.svg`](figures/a.svg)"),
        ("index.md", "`docs/gone.md`", "`docs/gone.md`"),
        ("index.md", "`tests/docs/log.md`", "`tests/docs/log.md`"),
        ("index.md", "[the log](docs/log.md)", "[the log](docs/log.md)"),
        ("index.md", "```\ncat docs/log.md\n```\ndocs/log.md", None),
    ],
)
def test_names_become_links_from_where_they_stand(
    page: str, text: str, expected: str | None
) -> None:
    expected = expected or "```\ncat docs/log.md\n```\n[log.md](log.md)"
    assert linked(text, page, THERE) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("words:\n- one\n- two", "words:\n\n- one\n- two"),
        ("words:\n1. one\n2. two", "words:\n\n1. one\n2. two"),
        ("in the year\n1970. A problem", "in the year\n1970. A problem"),
        ("## Head\n- one\n  goes on\n- two", "## Head\n- one\n  goes on\n- two"),
        ("words:\n| a |\n|---|\n| 1 |", "words:\n\n| a |\n|---|\n| 1 |"),
        ("```\nx\n```\n| a |\n|---|", "```\nx\n```\n\n| a |\n|---|"),
        ("```\nwords\n- one\n```", "```\nwords\n- one\n```"),
        ("words\n\n- one", "words\n\n- one"),
        ("- one\n\n  more of it\n- two", "- one\n\n  more of it\n\n- two"),
        ("- one\nin two lines\n- two", "- one\nin two lines\n- two"),
    ],
)
def test_lists_and_tables_have_a_blank_line_before_them(text: str, expected: str) -> None:
    assert spaced(text) == expected
