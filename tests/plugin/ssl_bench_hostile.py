"""What a broken or hostile step could try, run inside the sandbox by its tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any


def tried(action: Any) -> dict[str, Any]:
    """What an attempt came to."""
    try:
        return {"got": action()}
    except OSError as error:
        return {"refused": error.strerror or str(error)}


def look(arguments: dict[str, Any], places: dict[str, str], tell: Any) -> dict[str, Any]:
    own = next(iter(places.values()), "")
    return {
        "environment": dict(os.environ),
        "files": {
            path: tried(lambda path=path: Path(path).read_text()) for path in arguments["of"]
        },
        "folders": {p: tried(lambda p=p: sorted(os.listdir(p))) for p in arguments.get("in", [])},
        "own": tried(lambda: Path(own).read_text()) if own else None,
        "write_own": tried(lambda: Path(own).write_text("changed")) if own else None,
        "uid": os.getuid(),
        "privileges": Path("/proc/self/status").read_text() if os.path.exists("/proc/self") else "",
        "session": os.getsid(0) == os.getpid(),
    }


def allocate(arguments: dict[str, Any], places: dict[str, str], tell: Any) -> dict[str, Any]:
    return {"bytes": len(bytearray(arguments["bytes"]))}


def fork(arguments: dict[str, Any], places: dict[str, str], tell: Any) -> dict[str, Any]:
    begun = 0
    try:
        for _ in range(arguments["times"]):
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
            begun += 1
    except BlockingIOError:
        return {"forks": begun, "refused": True}
    return {"forks": begun, "refused": False}


def thread(arguments: dict[str, Any], places: dict[str, str], tell: Any) -> dict[str, Any]:
    begun = 0
    try:
        for _ in range(arguments["times"]):
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
            begun += 1
    except RuntimeError:
        return {"threads": begun, "refused": True}
    return {"threads": begun, "refused": False}


def spin(arguments: dict[str, Any], places: dict[str, str], tell: Any) -> dict[str, Any]:
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    while True:
        pass


def write(arguments: dict[str, Any], places: dict[str, str], tell: Any) -> dict[str, Any]:
    folder = Path(os.environ["TMPDIR"])
    for number in range(arguments["files"]):
        with (folder / str(number)).open("wb") as file:
            for _ in range(arguments["mib"]):
                file.write(b"x" * 2**20)
                file.flush()
    time.sleep(arguments.get("then", 0))
    return {}


def sleep(arguments: dict[str, Any], places: dict[str, str], tell: Any) -> dict[str, Any]:
    tell({"phase": "asleep", "pid": os.getpid()})
    if arguments.get("fork") and os.fork() == 0:
        tried(os.setsid)
        Path(os.environ["TMPDIR"], "child").touch()
    time.sleep(arguments["seconds"])
    return {}


def network(arguments: dict[str, Any], places: dict[str, str], tell: Any) -> dict[str, Any]:
    port, path = arguments["port"], arguments["path"]

    def unix() -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)

    return {
        "tcp": tried(lambda: bool(socket.create_connection(("127.0.0.1", port), timeout=2))),
        "unix": tried(unix),
        "interfaces": tried(lambda: [name for _, name in socket.if_nameindex()]),
    }


def escape(arguments: dict[str, Any], places: dict[str, str], tell: Any) -> dict[str, Any]:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def call(name: str, *values: Any) -> dict[str, Any]:
        return {"refused": ctypes.get_errno()} if getattr(libc, name)(*values) < 0 else {"got": 0}

    return {
        "program": tried(
            lambda: subprocess.run([sys.executable, "-c", ""], check=False).returncode
        ),
        "signal": tried(lambda: os.kill(arguments["parent"], 0)),
        "root": tried(lambda: os.setuid(0)),
        "mount": call("mount", b"none", b"/ssl-bench/private", b"tmpfs", 0, None),
        "namespace": call("unshare", 0x10000000),
        "trace": call("ptrace", 16, arguments["parent"], 0, 0),
        "chroot": call("chroot", b"/"),
    }


def babble(arguments: dict[str, Any], places: dict[str, str], tell: Any) -> dict[str, Any]:
    while True:
        tell({"phase": "embed", "padding": "x" * 100_000})


def nonsense(arguments: dict[str, Any], places: dict[str, str], tell: Any) -> dict[str, Any]:
    for number in range(3, 20):
        tried(lambda number=number: os.write(number, b"no message\n"))
    return {}


def crash(arguments: dict[str, Any], places: dict[str, str], tell: Any) -> dict[str, Any]:
    os.kill(os.getpid(), arguments["signal"])
    raise ValueError("still here")


def prints(arguments: dict[str, Any], places: dict[str, str], tell: Any) -> dict[str, Any]:
    print('{"phase": "end", "forged": true}')
    print("a library's chatter")
    return {"honest": True}
