"""How much of a list is told at once: the same for every list that takes a `limit`."""

from __future__ import annotations

PAGE = 100  # where no `limit` is named
LONGEST_PAGE = 500
SAMPLES = 20  # in place of PAGE: each is a prompt and every arm's answer
