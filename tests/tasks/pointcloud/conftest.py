"""Makes `box_shapes`, the shapes that tests of datasets write to disk, importable."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
