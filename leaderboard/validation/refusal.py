"""A refused submission: one sentence that names the file, the field and the remedy."""

from __future__ import annotations

import re

from benchmark.errors import SslBenchError

UNSHOWN = re.compile(r"[^\x20-\x7e\u00a0-\u024f\u0370-\u03ff]")


class Refusal(SslBenchError):  # noqa: N818
    """Why a file is not accepted.

    `field` is the part of the file that is wrong: the header, a tensor, a node, a score.
    """

    def __init__(self, file: str, field: str, problem: str, remedy: str) -> None:
        self.file, self.field = shown(file), shown(field)
        self.problem, self.remedy = shown(problem, 600), shown(remedy, 300)
        super().__init__(f"{self.file}: {self.field}: {self.problem}; {self.remedy}")

    @classmethod
    def told(cls, sentence: str) -> Refusal:
        """One that another process has put into words."""
        head, _, remedy = shown(sentence, 1_100).rpartition("; ")
        file, _, rest = head.partition(": ")
        field, _, problem = rest.partition(": ")
        return cls(file, field, problem, remedy)


def shown(text: object, longest: int = 120) -> str:
    """Text from a submission as it may stand in a message: one line, no control characters."""
    line = UNSHOWN.sub("?", " ".join(str(text).split()))
    return line if len(line) <= longest else line[: longest - 3] + "..."


def listed(names: list[str], longest: int = 4) -> str:
    """The first few of several names, and how many more there are."""
    more = f" and {len(names) - longest} more" if len(names) > longest else ""
    return ", ".join(shown(name) for name in names[:longest]) + more
