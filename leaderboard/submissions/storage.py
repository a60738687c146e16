"""Where uploads are kept: by their sha256, in a local folder or behind any fsspec URL."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem


class Storage:
    """Files by content. A key never changes its content; what is there is whole."""

    def __init__(self, url: str) -> None:
        self.system, root = fsspec.core.url_to_fs(url)
        self.root = str(root).rstrip("/")

    @property
    def local(self) -> bool:
        return isinstance(self.system, LocalFileSystem)

    @staticmethod
    def key_of(sha256: str) -> str:
        """`sha256/ab/abcd...`: the key, below the root, of a content."""
        return f"sha256/{sha256[:2]}/{sha256}"

    def path(self, key: str) -> str:
        return f"{self.root}/{key}"

    def has(self, key: str, size: int) -> bool:
        """Whether the whole content is there."""
        try:
            return int(self.system.size(self.path(key)) or -1) == size
        except FileNotFoundError:
            return False

    def keep(self, file: Path, sha256: str) -> str:
        """Take a finished local file over; gives its key. It is visible whole or not at all.

        Raises:
            OSError: it cannot be stored (a full disk); `file` is still there.
        """
        key = self.key_of(sha256)
        target = self.path(key)
        if self.has(key, file.stat().st_size):
            file.unlink()
            return key
        self.system.makedirs(target.rpartition("/")[0], exist_ok=True)
        if not self.local:
            self.system.put_file(str(file), target)  # object stores show it when it is whole
            file.unlink()
            return key
        scratch = f"{target}.{secrets.token_hex(4)}.part"
        try:
            try:
                os.rename(file, scratch)
            except OSError:  # on another disk
                shutil.copyfile(file, scratch)
            os.chmod(scratch, 0o644)  # read by the user of the sandbox
            with open(scratch, "rb") as held:
                os.fsync(held.fileno())
            os.replace(scratch, target)
        except OSError:
            if file.exists():
                Path(scratch).unlink(missing_ok=True)
            else:
                os.rename(scratch, file)
            raise
        file.unlink(missing_ok=True)
        return key

    @contextmanager
    def on_disk(self, key: str) -> Iterator[Path]:
        """The content as a local file, to be read while the block lasts."""
        if self.local:
            yield Path(self.path(key))
            return
        with tempfile.TemporaryDirectory(prefix="ssl-bench-upload-") as folder:
            copy = Path(folder) / "content"
            self.system.get_file(self.path(key), str(copy))
            yield copy

    def read(self, key: str) -> bytes:
        """The whole content."""
        content: bytes = self.system.cat_file(self.path(key))
        return content

    def remove(self, key: str) -> None:
        """Forget a content; nothing happens where there is none."""
        if self.system.exists(self.path(key)):
            self.system.rm_file(self.path(key))
