"""Open3D on machines without libusb.

Open3D's Linux wheels are linked against libusb-1.0.so.0 for its depth cameras. The PyPI package
libusb-package carries that library; once it is in the process with global symbols, the dynamic
loader takes it for Open3D too, and no system package is needed.
"""

from __future__ import annotations

import ctypes
import importlib
from contextlib import suppress
from types import ModuleType

from benchmark.errors import SslBenchError

INSTALL = "pip install 'ssl-bench[pointcloud]' (or: pip install open3d-cpu libusb-package)"


def _load_libusb() -> None:
    """Bring libusb-package's libusb into the process; without it the system's own must do."""
    with suppress(ImportError, OSError):
        path = importlib.import_module("libusb_package").get_library_path()
        if path:
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)


def import_open3d() -> ModuleType:
    """The `open3d` module, libusb loaded before it.

    Raises:
        SslBenchError: open3d is not installed, or it lacks a system library; with the pip line.
    """
    _load_libusb()
    try:
        open3d = importlib.import_module("open3d")
    except ModuleNotFoundError as error:
        missing = (error.name or "open3d").split(".")[0]
        raise SslBenchError(
            f"point-cloud features need the package {missing!r}: {INSTALL}"
        ) from None
    except (ImportError, OSError) as error:
        raise SslBenchError(f"open3d cannot be loaded ({error}): {INSTALL}") from None
    open3d.utility.set_verbosity_level(open3d.utility.VerbosityLevel.Error)
    return open3d
