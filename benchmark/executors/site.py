"""What every machine of a run has to see: the same code, cache, data and files of encoders."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmark.encoder import FILE
from benchmark.errors import SslBenchError
from benchmark.events import RunOptions
from benchmark.paths import cache_root, explained, file_sha256, is_url, local_path
from benchmark.plan import EncoderRef

LATE_SECONDS = 5.0  # network file systems may show a new file to others after a while


@dataclass(frozen=True)
class Site:
    """What the driver sees, for a worker to compare."""

    folder: str  # the driver's working directory, in which relative names are meant
    code: str  # hash
    tokens: tuple[Path, ...]  # files in the shared folders that only this run has
    secret: str
    data_dir: Path | None
    files: tuple[tuple[str, str], ...]  # encoders' files and checkpoints with their sha256

    def verify(self) -> None:
        """See that this machine sees the same.

        Raises:
            SslBenchError: it does not; names the node, what it lacks and the remedy.
        """
        node = socket.gethostname()
        if code_version() != self.code:
            raise SslBenchError(
                f"the node {node} has another version of ssl-bench or of the libraries that score: "
                "install the same on every node"
            )
        for token in self.tokens:
            if not _appears(token, self.secret):
                raise SslBenchError(
                    f"the node {node} does not see the folder {token.parent}: set SSL_BENCH_CACHE "
                    "to one on a file system that all nodes share, or use --store URL, with which "
                    "each node has a cache of its own"
                )
        if self.data_dir is not None and not self.data_dir.is_dir():
            raise SslBenchError(
                f"the node {node} does not see the data folder {self.data_dir}: put it on a file "
                "system that all nodes share, under the same path"
            )
        for name, digest in self.files:
            path = Path(name)
            if not path.is_file() or file_sha256(path) != digest:
                state = "another file as" if path.is_file() else "no file"
                raise SslBenchError(
                    f"the node {node} sees {state} {path.absolute()}: put encoders and checkpoints "
                    "on a file system that all nodes share, and start the run from there"
                )


@contextmanager
def this_site(encoders: Sequence[EncoderRef], options: RunOptions) -> Iterator[Site]:
    """The driver's view, valid inside the block.

    Raises:
        SslBenchError: the cache folder is full or unusable.
    """
    secret = secrets.token_hex(16)
    places = [cache_root()]
    if options.store is not None:
        places = [] if is_url(options.store) else [*places, local_path(options.store)]
    tokens = tuple(folder.absolute() / f".run-{secret[:8]}" for folder in dict.fromkeys(places))
    named = [str(ref.checkpoint) for ref in encoders if ref.checkpoint]
    named += [match[1] for ref in encoders if (match := FILE.match(ref.name))]
    named += [ref.name.removeprefix("onnx:") for ref in encoders if ref.name.startswith("onnx:")]
    there = [name for name in dict.fromkeys(named) if Path(name).is_file()]  # else told later
    for token in tokens:
        with explained(token.parent):
            token.parent.mkdir(parents=True, exist_ok=True)
            token.write_text(secret)
    try:
        yield Site(
            os.getcwd(),
            code_version(),
            tokens,
            secret,
            options.data_dir.absolute() if isinstance(options.data_dir, Path) else None,
            tuple((name, file_sha256(Path(name))) for name in there),
        )
    finally:
        for token in tokens:
            token.unlink(missing_ok=True)


def code_version() -> str:
    """Hash of all code that embeds and scores, and of the libraries' versions."""
    from benchmark.embed import engine_code
    from benchmark.known import scoring_code

    digest = hashlib.sha256(f"{engine_code()} {scoring_code()}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _appears(path: Path, content: str) -> bool:
    until = time.monotonic() + LATE_SECONDS
    while True:
        try:
            if path.read_text() == content:
                return True
        except OSError:
            pass
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
