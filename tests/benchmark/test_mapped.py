"""Pages of mapped files are given back, and read again when they are needed."""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from benchmark.mapped import MappedFiles


def resident_files() -> int:
    """Bytes of mapped files that are resident in this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssFile"):
            return int(line.split()[1]) << 10
    raise OSError


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="tells the kernel of Linux")
def test_what_was_read_is_given_back_and_can_be_read_again(tmp_path: Path) -> None:
    path = tmp_path / "data.arrow"
    values = np.arange(4 << 20, dtype=np.int64)
    path.write_bytes(values.tobytes())
    with pa.memory_map(str(path)) as source:
        view = np.frombuffer(source.read_buffer(), np.int64)
        mapped = MappedFiles([path])
        assert len(mapped.ranges) == 1
        assert view.sum() == values.sum()
        read = resident_files()
        mapped.release()
        assert resident_files() < read - (24 << 20)
        assert view.sum() == values.sum()


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "not-mapped"
    path.write_bytes(b"0")
    mapped = MappedFiles([path])
    assert mapped.ranges == []
    mapped.release()
