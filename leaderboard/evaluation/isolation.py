"""A child process makes itself small: a root folder with nothing but what the step needs, no
network, limits, an own user, no way back. Standard library only.

Three modes, the strongest that the machine allows; the weaker ones say what they lack:

- *namespaces*: own mounts, processes, network, IPC. The root holds the system's libraries and the
   interpreter (read-only), the submitted file and the step's folders. Needs root, or a kernel that
  gives user namespaces to everyone.
- *landlock*: the same files by Landlock rules (Linux 5.13), the network by seccomp alone.
- *bare*: neither; other files are kept apart by their permissions only.

Limits (setrlimit), seccomp, no_new_privs and, when started as root, an own user id hold in all.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from leaderboard.evaluation import syscalls
from leaderboard.evaluation.limits import PRIVATE, WORK, Job

SYSTEM: tuple[str, ...] = (
    "/usr",
    "/lib",
    "/lib64",
    "/lib32",
    "/bin",
    "/etc/ld.so.cache",
    "/etc/localtime",
)
SYSTEM += ("/sys/devices/system/cpu", "/sys/fs/cgroup")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
FIRST_UID = 10_000_000  # + process id: no other process has this user id
NOBODY = 65534


def may_change_user() -> bool:
    """Whether root has been left with CAP_CHOWN, CAP_SETGID and CAP_SETUID, and this is root."""
    if os.geteuid() != 0:
        return False
    lines = Path("/proc/self/status").read_text().splitlines()
    held = next((int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")), 0)
    return all(held >> number & 1 for number in (0, 6, 7))


def namespaces(job: Job) -> str:
    """Leave the parent's namespaces, if that is allowed; returns why not."""
    if not job.namespaces:
        return "switched off"
    flags = syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWNET
    flags |= syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS
    user, group = os.geteuid(), os.getegid()
    try:
        if user == 0:
            syscalls.unshare(flags)
            return ""
        syscalls.unshare(flags | syscalls.CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    except OSError as error:
        return error.strerror or str(error)
    return ""


def own_root(job: Job) -> None:
    """Build the root folder in a private mount namespace and enter it."""
    s = syscalls
    s.mount("none", "/", flags=s.MS_REC | s.MS_PRIVATE)
    root = f"{job.private}/root"
    os.mkdir(root)
    s.mount("tmpfs", root, "tmpfs", s.MS_NOSUID | s.MS_NODEV, "size=1m,mode=755")
    for place in (*SYSTEM, *job.prefixes, *job.path):
        _show(place, root + place)
    for place in job.hidden:
        _hide(root + place)
    for outside, inside in job.read_only:
        _show(outside, root + inside)
    for device in (*DEVICES, *job.devices):
        _show(device, root + device, read_only=False)
    for folder, inside in ((job.scratch, WORK), (f"{job.private}/tmp", PRIVATE)):
        if folder:
            _show(folder, root + inside, read_only=False)
    os.makedirs(f"{root}/dev/shm", exist_ok=True)
    options = f"size={min(job.limits.memory_bytes, 1 << 30)},mode=1777"
    s.mount("tmpfs", f"{root}/dev/shm", "tmpfs", s.MS_NOSUID | s.MS_NODEV, options)
    os.makedirs(f"{root}/proc")
    try:
        s.mount("proc", f"{root}/proc", "proc", s.MS_NOSUID | s.MS_NODEV | s.MS_NOEXEC)
    except OSError:  # containers mask parts of theirs: show cpu and memory facts alone
        for name in ("cpuinfo", "meminfo", "stat", "sys/vm/overcommit_memory"):
            _show(f"/proc/{name}", f"{root}/proc/{name}")
    s.mount("none", root, flags=s.MS_BIND | s.MS_REMOUNT | s.MS_RDONLY | s.MS_NOSUID | s.MS_NODEV)
    s.enter_root(root)


def _show(outside: str, target: str, read_only: bool = True) -> None:
    """Bind a file or folder at `target`; a symbolic link stays one."""
    s = syscalls
    if os.path.islink(outside) and not os.path.lexists(target) and outside in SYSTEM:
        os.symlink(os.readlink(outside), target)
        return
    if not os.path.exists(outside) or os.path.ismount(target):
        return
    if os.path.isdir(outside):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    s.mount(outside, target, flags=s.MS_BIND | s.MS_REC)
    if read_only:
        flags = s.MS_BIND | s.MS_REMOUNT | s.MS_RDONLY | s.MS_NOSUID
        with suppress(OSError):  # in a user namespace, what was locked before stays as it is
            s.mount("none", target, flags=flags | s.MS_NODEV)


def _hide(target: str) -> None:
    """Cover what an interpreter's or a project's folder holds besides code."""
    if os.path.isdir(target):
        syscalls.mount("none", target, "tmpfs", syscalls.MS_RDONLY, "size=4k,mode=000")
    elif os.path.exists(target):
        syscalls.mount("/dev/null", target, flags=syscalls.MS_BIND)


def own_files(job: Job) -> str:
    """Landlock in the place of an own root; returns why not."""
    code = [part for place in (*job.prefixes, *job.path) for part in _without(place, job.hidden)]
    shown = [*SYSTEM, *code, "/proc/self", "/proc/cpuinfo", "/proc/meminfo"]
    shown += [outside for outside, _ in job.read_only]
    written = [f"{job.private}/tmp", *DEVICES, *job.devices, *filter(None, [job.scratch])]
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)  # without it Landlock is for root
    try:
        syscalls.landlock(shown, written)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _without(place: str, hidden: Sequence[str]) -> Iterator[str]:
    """A folder, or the parts of it that hold nothing hidden."""
    inside = [other for other in hidden if Path(other).is_relative_to(place)]
    if not inside:
        yield place
    elif place not in inside:
        for entry in os.scandir(place):
            yield from _without(entry.path, inside)


def own_user(job: Job, pid: int) -> int:
    """Hand the step's folders to a user id that nobody else has; 0 when not started as root."""
    if os.geteuid() != 0:
        return 0
    if not job.private:
        raise ValueError("a step without a private folder has nothing to hand over")
    uid = job.uid or FIRST_UID + pid
    for candidate in (uid, NOBODY):  # a container may map few user ids
        try:
            for path in _everything(job):
                os.chown(path, candidate, candidate, follow_symlinks=False)
            return candidate
        except OSError:
            if candidate == NOBODY:
                raise
    return NOBODY


def _everything(job: Job) -> Iterator[str]:
    for top in filter(None, (job.scratch, f"{job.private}/tmp")):
        yield top
        for folder, folders, files in os.walk(top):
            yield from (os.path.join(folder, name) for name in (*folders, *files))


def restrict(job: Job, uid: int, running: int = 0, own_files_only: bool = False) -> list[str]:
    """Put on the limits and give up every privilege; returns what could not be done.

    running: processes that count against the limit already. own_files_only: Landlock holds
    already, so that reading may pass the permissions of the folders above the interpreter.
    """
    limits = job.limits
    chosen = {
        resource.RLIMIT_CPU: limits.cpu_seconds,
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_NPROC: limits.processes + running,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    chosen[resource.RLIMIT_DATA if job.devices else resource.RLIMIT_AS] = limits.memory_bytes
    for kind, value in chosen.items():
        hard = resource.getrlimit(kind)[1]
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (allowed, allowed))
    lacking = []
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    try:
        syscalls.refuse_syscalls()
    except OSError as error:
        lacking.append(f"system calls are not filtered ({error.strerror})")
    if uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 1)
        os.setresuid(uid, uid, uid)
    with suppress(OSError):
        syscalls.drop_capabilities(keep_reading=bool(uid) and own_files_only and not lacking)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    os.umask(0o077)
    for number in (signal.SIGXFSZ, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    return lacking


def processes_of_user() -> int:
    """What the user runs already, which counts where a step has no user id of its own."""
    count = 0
    for entry in os.scandir("/proc"):
        with suppress(OSError):
            if entry.name.isdigit() and entry.stat().st_uid == os.getuid():
                count += len(os.listdir(f"/proc/{entry.name}/task"))
    return count
