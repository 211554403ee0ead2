"""What is derived: each page by its place in the site, and what writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from docs._tools import commands, exits, functions, names, notebook, registry, settings

PAGES: Mapping[str, Callable[[], str]] = {
    "reference/commands.md": commands.page,
    "reference/config.md": settings.page,
    "reference/registry.md": registry.page,
    "reference/python.md": functions.page,
    "reference/names.md": names.page,
    "reference/exits.md": exits.page,
    "notebook.md": notebook.page,
}
