"""Renew the published tables: run the command of each, and put what it prints in its place.

    python -m benchmarks.publish                    # every table in docs/*.md (hours)
    python -m benchmarks.publish --only scaling     # those whose command has this word

In a page a table stands between two comments, of which the first holds its command:

    <!-- made by: python -m benchmarks.scaling -->
    ...
    <!-- end -->

Standard output is taken as it is if it is a table in markdown, and as preformatted text otherwise.
What a command writes to standard error goes to the terminal.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs"
BLOCK = re.compile(r"<!-- made by: (?P<command>.+?) -->\n(?P<body>.*?)<!-- end -->", re.DOTALL)


def pages() -> list[Path]:
    """Return the pages that have tables to renew, sorted."""
    return [
        path
        for path in sorted(PAGES.glob("*.md"))
        if BLOCK.search(path.read_text(encoding="utf-8"))
    ]


def output_of(command: str) -> str:
    """Run a command of the page in the repository and return what it prints.

    Raises
    ------
    subprocess.CalledProcessError
        If it fails: a table is renewed whole or not at all.
    """
    words = shlex.split(command)
    if words[0] == "python":
        words[0] = sys.executable
    shown = subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return shown.strip()


def as_markdown(shown: str) -> str:
    """Return an output as it stands in the page."""
    is_table = any(line.startswith("|--") for line in shown.splitlines())
    return f"\n{shown}\n\n" if is_table else f"\n```\n{shown}\n```\n\n"


def renewed(page: str, *, only: str = "", arguments: str = "") -> str:
    """Return a page with its tables made anew.

    Parameters
    ----------
    page
        Text of the page.
    only
        Renew only the tables whose command has this in it.
    arguments
        Added to every command.
    """

    def replace(block: re.Match[str]) -> str:
        command = block["command"]
        if only not in command:
            return block[0]
        print(f"$ {command} {arguments}".rstrip(), file=sys.stderr, flush=True)
        started_s = time.perf_counter()
        body = as_markdown(output_of(f"{command} {arguments}"))
        print(f"  {time.perf_counter() - started_s:.0f} s", file=sys.stderr, flush=True)
        return f"<!-- made by: {command} -->\n{body}<!-- end -->"

    return BLOCK.sub(replace, page)


def main() -> None:
    """Renew the pages, each as soon as its tables are there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="WORD", help="commands with this word only")
    parser.add_argument(
        "--smoke", action="store_true", help="tiny sizes; print the pages and write nothing"
    )
    arguments = parser.parse_args()
    for path in pages():
        page = path.read_text(encoding="utf-8")
        if arguments.smoke:
            print(renewed(page, only=arguments.only, arguments="--smoke"))
        else:
            path.write_text(renewed(page, only=arguments.only), encoding="utf-8")


if __name__ == "__main__":
    main()
