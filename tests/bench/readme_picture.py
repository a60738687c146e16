"""Draw the README's picture: the overall table of a run, as the terminal shows it.

python tests/bench/readme_picture.py runs/starter benchmark/report/starter.svg
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console

from benchmark.report.summary import summarise
from benchmark.report.tables import overall_table
from benchmark.results import read_cells, read_run


def main() -> None:
    run, picture = map(Path, sys.argv[1:3])
    console = Console(record=True, width=112, file=io.StringIO(), force_terminal=True)
    console.print(overall_table(summarise(read_run(run), read_cells(run))))
    svg = console.export_svg(
        title="ssl-bench eval --model all --suite starter", unique_id="starter"
    )
    # the page's own monospace font will do: a picture must not load a font from elsewhere
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    picture.write_text(re.sub(r"[ \t]+\n", "\n", svg).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
