"""What makes two encoders the same: a hash of weights and code, never a class name."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def weights_digest(module: torch.nn.Module, salt: str = "") -> str:
    """sha256 over every parameter and buffer (name, dtype, shape, bytes), the structure and plain
    settings of every submodule, and `salt`."""
    import torch

    digest = hashlib.sha256(salt.encode())
    for name, part in module.named_modules():
        digest.update(f"{name} {type(part).__qualname__} {_settings(part)}".encode())
    for name, tensor in sorted(module.state_dict().items()):
        if not isinstance(tensor, torch.Tensor):
            continue
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _settings(part: torch.nn.Module) -> str:
    """Attributes of a module that are no tensors: numbers, texts, arrays, configurations."""
    own = {}
    for name, value in sorted(vars(part).items()):
        if name.startswith("_"):
            continue
        if isinstance(value, bool | int | float | str | tuple | list | dict | type(None)):
            own[name] = repr(value)
        elif hasattr(value, "to_json_string"):  # a configuration of transformers
            own[name] = str(value.to_json_string())
        elif hasattr(value, "tobytes"):  # a numpy array
            own[name] = hashlib.sha256(value.tobytes()).hexdigest()
        elif isinstance(value, Callable):  # type: ignore[arg-type]
            own[name] = getattr(value, "__qualname__", type(value).__qualname__)
    return repr(own)


def code_digest(cls: type, salt: str = "") -> str:
    """sha256 over the source of `cls`, of every module of its project that it imports, directly or
    not, and the versions of the libraries that those import."""
    package = cls.__module__.partition(".")[0]
    own = [base for base in cls.__mro__ if base.__module__.partition(".")[0] == package]
    return _digest({Path(inspect.getfile(base)) for base in own}, package, salt)


def local_code(cls: type) -> str:
    """The same without the libraries' versions: what a new version changes shows in the data."""
    package = cls.__module__.partition(".")[0]
    own = [base for base in cls.__mro__ if base.__module__.partition(".")[0] == package]
    return _digest({Path(inspect.getfile(base)) for base in own}, package, "", versions=False)


def module_digest(module: str, salt: str = "") -> str:
    """The same for everything that `module` defines, without importing it."""
    spec = find_spec(module)
    files = {Path(spec.origin)} if spec is not None and spec.origin else set()
    return _digest(files, module.partition(".")[0], salt)


def _digest(files: set[Path], package: str, salt: str, versions: bool = True) -> str:
    digest = hashlib.sha256(salt.encode())
    libraries: set[str] = set()
    seen: set[Path] = set()
    pending = sorted(files)
    while pending:
        path = pending.pop(0)
        if path in seen or not path.is_file():
            continue
        seen.add(path)
        source = path.read_bytes()
        digest.update(source)
        for name in sorted(_imported(source)):
            local = _local_file(name, path, package)
            if local is not None:
                pending.append(local)
            elif name.partition(".")[0] not in sys.stdlib_module_names:
                libraries.add(name.partition(".")[0])
    for name in sorted(libraries - {"benchmark"}) if versions else ():
        digest.update(f"{name}=={_version(name)}\n".encode())
    return digest.hexdigest()


def _local_file(name: str, importer: Path, package: str) -> Path | None:
    """The file of module `name` where it belongs to the project: the same top-level package, or a
    file beside the importing one."""
    if name.partition(".")[0] == package:
        with suppress(ImportError, ValueError):
            spec = find_spec(name)
            if spec is not None and spec.origin is not None:
                return Path(spec.origin)
    beside = importer.parent / Path(*name.split("."))
    for path in (beside.with_suffix(".py"), beside / "__init__.py"):
        if path.is_file():
            return path
    return None


def _imported(source: bytes) -> set[str]:
    """Full names of the modules that a source file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            names |= {node.module} if node.module else {alias.name for alias in node.names}
    return names


def _version(package: str) -> str:
    distributions = {
        "cv2": "opencv-python-headless",
        "sklearn": "scikit-learn",
        "pywt": "PyWavelets",
    }
    distributions |= {"skimage": "scikit-image", "open3d": "open3d-cpu"}
    try:
        return metadata.version(distributions.get(package, package))
    except metadata.PackageNotFoundError:
        return "unknown"
