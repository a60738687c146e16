"""What a test's server of objects has been told to do wrong, and what it has been asked."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Faults:
    """`faults` are taken one by one by the requests that match them."""

    faults: list[tuple[str, str, str]] = field(default_factory=list)  # kind, method, part of path
    seen: list[tuple[str, str]] = field(default_factory=list)

    def fail(self, kind: str, method: str, part: str = "", times: int = 1) -> None:
        """Answer the next requests with a fault of this kind."""
        self.faults += [(kind, method, part)] * times

    def taken(self, method: str, path: str) -> str:
        """The kind of fault that a request gets, "" for none."""
        self.seen.append((method, path))
        for number, (kind, wanted, part) in enumerate(self.faults):
            if wanted == method and part in path:
                del self.faults[number]
                return kind
        return ""
