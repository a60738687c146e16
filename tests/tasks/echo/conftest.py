"""Makes `echo_files`, the files that tests of datasets write to disk, importable."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
