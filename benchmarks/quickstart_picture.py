"""docs/figures/quickstart.svg: the last screen of a real `mwalimu quickstart`, as text in an SVG.

pip install pyte
python benchmarks/quickstart_picture.py                  # runs it: minutes
python benchmarks/quickstart_picture.py --stream FILE    # draws again what a run left there
"""

from __future__ import annotations

import argparse
import io
import os
import pty
import re
import subprocess
import sys
import tempfile
import termios
from itertools import groupby
from pathlib import Path

import pyte
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "figures" / "quickstart.svg"
COLUMNS, ROWS = 100, 60
PROMPT = b"$ mwalimu quickstart\r\n"


def record(folder: Path) -> bytes:
    """All that the command writes to a terminal of COLUMNS by ROWS. Raises CalledProcessError."""
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (ROWS, COLUMNS))
    command = [sys.executable, "-m", "mwalimu", "quickstart"]
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    environment |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    running = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=its, stdout=its, stderr=its
    )
    os.close(its)
    stream = b""
    while piece := _read(ours):
        stream += piece
    os.close(ours)
    if running.wait():
        sys.stderr.buffer.write(stream[-2000:])
        raise subprocess.CalledProcessError(running.returncode, command)
    return stream


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # so Linux says that the other end is closed
        return b""


def last_screen(stream: bytes) -> list[Text]:
    """What stands on the terminal at the end, with its colours, without empty lines below."""
    screen = pyte.Screen(COLUMNS, ROWS)
    pyte.ByteStream(screen).feed(PROMPT + stream)
    lines = [_line(screen, row) for row in range(ROWS)]
    while lines and not lines[-1].plain.strip():
        lines.pop()
    return lines


def _line(screen: pyte.Screen, row: int) -> Text:
    cells = [screen.buffer[row][column] for column in range(COLUMNS)]
    runs = groupby(cells, key=_style)
    line = Text.assemble(*(("".join(cell.data for cell in run), style) for style, run in runs))
    line.rstrip()
    return line


def _style(cell: pyte.screens.Char) -> str:
    if not cell.data.strip():
        return ""
    colour = f"#{cell.fg}" if re.fullmatch(r"[0-9a-f]{6}", cell.fg) else _name(cell.fg)
    return f"bold {colour}" if cell.bold else colour


def _name(colour: str) -> str:
    """pyte's name of one of the sixteen colours as rich has it."""
    bright = colour.removeprefix("bright")
    name = {"brown": "yellow"}.get(bright, bright)
    return name if bright == colour else f"bright_{name}"


def draw(lines: list[Text]) -> str:
    """An SVG that loads nothing: the viewer's own monospace, no font from elsewhere."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    for line in lines:
        console.print(line, soft_wrap=True)
    svg = console.export_svg(title="mwalimu quickstart", unique_id="quickstart")
    svg = re.sub(r"@font-face\s*\{.*?\}\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg).replace("Fira Code, monospace", "monospace")
    if "http" in svg.replace('xmlns="http://www.w3.org/2000/svg"', ""):
        raise ValueError("the drawing still loads something from elsewhere")
    return re.sub(r"[ \t]+\n", "\n", svg)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stream", type=Path, help="of a run; recorded and kept there if missing")
    parser.add_argument("--out", type=Path, default=PICTURE)
    options = parser.parse_args()
    if options.stream is not None and options.stream.exists():
        stream = options.stream.read_bytes()
    else:
        with tempfile.TemporaryDirectory() as folder:
            stream = record(Path(folder))
        if options.stream is not None:
            options.stream.write_bytes(stream)
    options.out.write_text(draw(last_screen(stream)), encoding="utf-8")
    print(options.out)


if __name__ == "__main__":
    main()
