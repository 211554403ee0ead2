"""Loss curves of fixed recipes, kept as numbers: `python -m tests.golden` makes them again."""
