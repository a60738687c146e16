"""The kernel's ways to take things away from a process, by ctypes: namespaces and mounts
(unshare(2), mount(2), pivot_root(2)), Landlock (landlock(7)) and seccomp through libseccomp.

Everything here takes effect on the calling thread's process and cannot be undone by it.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterable
from errno import ENOSYS, EPERM

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS = 1, 4, 8
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
CAP_DAC_READ_SEARCH = 1 << 2
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
LANDLOCK = (444, 445, 446)  # the same on every architecture: create, add rule, restrict
LANDLOCK_READ = 0b1100  # read a file, list a folder; in the order of landlock(7)
LANDLOCK_WRITE = sum(1 << bit for bit in (1, 4, 5, 7, 8, 12, 13, 14))  # no devices, no sockets
LANDLOCK_FILE = 1 << 1 | 1 << 2 | 1 << 14  # what holds of a file that is no folder

# Network, other processes, the kernel's own settings; what a numerical program has no use for.
REFUSED = (
    "socket", "connect", "bind", "listen", "accept", "accept4", "sendmsg", "sendto", "sendmmsg",
    "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_open", "pidfd_getfd", "kcmp",
    "mount", "umount2", "pivot_root", "chroot", "setns", "unshare", "open_tree", "move_mount",
    "fsopen", "fsmount", "mount_setattr", "execve", "execveat", "setsid", "setpgid", "keyctl",
    "add_key", "request_key", "bpf", "perf_event_open", "userfaultfd", "io_uring_setup",
    "io_uring_enter", "io_uring_register", "init_module", "finit_module", "delete_module",
    "kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff", "open_by_handle_at",
    "name_to_handle_at", "mknod", "mknodat", "quotactl", "acct", "settimeofday", "clock_settime",
    "adjtimex", "iopl", "ioperm",
)  # fmt: skip

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def prctl(option: int, value: int) -> None:
    _checked(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), f"prctl {option}")


def unshare(flags: int) -> None:
    _checked(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    arguments = (source.encode(), target.encode(), kind.encode() or None)
    found = _libc.mount(*arguments, ctypes.c_ulong(flags), data.encode() or None)
    _checked(found, f"mount {source} on {target}")


def enter_root(folder: str) -> None:
    """Make `folder`, a mount point, the root; what was there before is gone."""
    os.chdir(folder)
    number = PIVOT_ROOT.get(platform.machine())
    if number is None:
        raise OSError(ENOSYS, f"pivot_root is not known for {platform.machine()}")
    _checked(_libc.syscall(number, b".", b"."), "pivot_root")
    _checked(_libc.umount2(b".", MNT_DETACH), "umount of the old root")
    os.chdir("/")


def drop_capabilities(keep_reading: bool = False) -> None:
    """Give up every capability for good, also those that a user namespace gave.

    keep_reading: all but CAP_DAC_READ_SEARCH, reading whatever the permissions.
    """
    for number in range(64):
        if _libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(number), 0, 0, 0) < 0:
            break
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    kept = CAP_DAC_READ_SEARCH if keep_reading else 0
    sets = (ctypes.c_uint32 * 6)(kept, kept)  # effective, permitted, inheritable
    _checked(_libc.capset(header, sets), "capset")


def landlock(read: Iterable[str], write: Iterable[str]) -> None:
    """Leave access to these files and folders only, the second ones to be written too; no TCP (from
    version 4), no signals to others and no abstract sockets (version 6).

    Raises:
        OSError: a kernel without Landlock (before Linux 5.13, or switched off).
    """
    create, add, restrict = LANDLOCK
    version = _checked(_libc.syscall(create, None, 0, 1), "landlock")
    every = 0b1111111111111 | (1 << 13 if version >= 2 else 0) | (1 << 14 if version >= 3 else 0)
    attributes = (ctypes.c_uint64 * 3)(every, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    rules = _checked(_libc.syscall(create, attributes, size, 0), "landlock")
    try:
        for rights, paths in ((LANDLOCK_READ, read), (LANDLOCK_READ | LANDLOCK_WRITE, write)):
            for path in paths:
                if os.path.exists(path):
                    _allow(add, rules, path, rights & every)
        _checked(_libc.syscall(restrict, rules, 0), "landlock")
    finally:
        os.close(rules)


def _allow(add: int, rules: int, path: str, rights: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rights &= -1 if os.path.isdir(path) else LANDLOCK_FILE
        rule = rights.to_bytes(8, "little") + place.to_bytes(4, "little", signed=True)
        _checked(_libc.syscall(add, rules, 1, rule, 0), f"landlock {path}")
    finally:
        os.close(place)


def refuse_syscalls(names: Iterable[str] = REFUSED) -> None:
    """Let these system calls fail with EPERM (clone3 with ENOSYS: its arguments cannot be seen).

    Raises:
        OSError: no libseccomp, or a kernel without seccomp.
    """
    try:
        lib = ctypes.CDLL("libseccomp.so.2")
    except OSError as error:
        raise OSError(ENOSYS, f"{error}: install libseccomp2") from None
    lib.seccomp_init.restype = ctypes.c_void_p
    allow, refuse = 0x7FFF0000, 0x00050000
    context = ctypes.c_void_p(lib.seccomp_init(ctypes.c_uint32(allow)))
    rules = [(name, refuse | EPERM) for name in names] + [("clone3", refuse | ENOSYS)]
    for name, action in rules:
        number = lib.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # else unknown to this architecture
            lib.seccomp_rule_add_array(context, ctypes.c_uint32(action), number, 0, None)
    # new user namespaces give capabilities back: clone with any namespace flag is refused
    _refuse_clone_flags(lib, context, refuse | EPERM)
    found = lib.seccomp_load(context)
    lib.seccomp_release(context)
    if found < 0:
        raise OSError(-found, f"seccomp: {os.strerror(-found)}")


class _Comparison(ctypes.Structure):
    _fields_ = [
        ("argument", ctypes.c_uint),
        ("operation", ctypes.c_int),
        ("mask", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
    ]


def _refuse_clone_flags(lib: ctypes.CDLL, context: ctypes.c_void_p, action: int) -> None:
    masked_equal = 7
    clone = lib.seccomp_syscall_resolve_name(b"clone")
    spaces = (CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS)
    for flag in spaces:
        comparison = _Comparison(0, masked_equal, flag, flag)
        found = (ctypes.c_uint32(action), clone, 1, ctypes.byref(comparison))
        lib.seccomp_rule_add_array(context, *found)
