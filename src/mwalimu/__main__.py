"""What `mwalimu` and `python -m mwalimu` start."""

import gc

from mwalimu import garbage


def main() -> None:
    """What a command line imports is never garbage, so it is never looked through for any."""
    with garbage.importing():
        from mwalimu import cli

        gc.freeze()
    garbage.left_at_the_end()
    cli.main()


if __name__ == "__main__":
    main()
