"""What `mwalimu` and `python -m mwalimu` start."""

import gc


def main() -> None:
    """What a command line imports is never garbage, so it is never looked through for any."""
    gc.disable()
    from mwalimu import cli

    gc.freeze()
    gc.enable()
    cli.main()


if __name__ == "__main__":
    main()
