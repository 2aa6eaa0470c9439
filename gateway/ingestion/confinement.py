"""What a process that reads strangers' files gives up for good: the network, other programs, other people's files.

The kernel is asked directly; there is no library to install. Each measure is taken where the kernel and the machine allow it
(`missing` tells which are not to be had) and none needs root:

- no new privileges, and as root none of root's capabilities;
- limits on memory, processor time, the size of a file, open files, processes;
- a system call filter (seccomp): no sockets, no programs, no signals, no looking into other processes;
- Landlock: to read only what is named, to write into one folder.
"""

import ctypes
import os
import platform
import resource
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_SECCOMP_MODE_FILTER = 2
_SIGKILL = 9
_EPERM, _EFAULT, _ENOSYS = 1, 14, 38


@dataclass(frozen=True, slots=True)
class _Machine:
    """Numbers of a processor's system calls, from Linux's tables."""

    audit: int
    """AUDIT_ARCH_…"""
    clone: int
    capset: int
    denied: tuple[int, ...]
    """What no converter needs."""


_MACHINES = MappingProxyType(
    {
        "x86_64": _Machine(
            audit=0xC000003E,
            clone=56,
            capset=126,
            denied=(
                *(41, 42, 43, 44, 46, 49, 50, 53, 288, 307),  # socket … socketpair, accept4, sendmmsg
                *(57, 58, 59, 322),  # fork, vfork, execve, execveat
                *(62, 200, 234, 101, 310, 311),  # kill, tkill, tgkill, ptrace, process_vm_readv, process_vm_writev
                *(
                    155,
                    161,
                    165,
                    166,
                    272,
                    304,
                    308,
                ),  # pivot_root, chroot, mount, umount2, unshare, open_by_handle_at, setns
                *(248, 249, 250, 298, 321, 323),  # add_key, request_key, keyctl, perf_event_open, bpf, userfaultfd
            ),
        ),
        "aarch64": _Machine(
            audit=0xC00000B7,
            clone=220,
            capset=91,
            denied=(
                *(198, 199, 200, 201, 202, 203, 206, 211, 242, 269),
                *(221, 281),
                *(129, 130, 131, 117, 270, 271),
                *(41, 51, 40, 39, 97, 265, 268),
                *(217, 218, 219, 241, 280, 282),
            ),
        ),
    }
)
_DENIED_EVERYWHERE = (424, 425, 426, 427, 434, 438)
"""pidfd_send_signal, io_uring_setup, io_uring_enter, io_uring_register, pidfd_open, pidfd_getfd: one number on all processors."""
_CLONE3 = 435
_CLONE_THREAD = 0x10000

_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_FS_RIGHTS = MappingProxyType({1: 13, 2: 14, 3: 15, 4: 15, 5: 16})
"""How many rights over files each version of Landlock knows, as bits from the lowest; later ones know those of 5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessLimits:
    """Of one process. `memory_bytes`: address space; `file_bytes`: of a file that it writes; `cpu_s`: until it is killed."""

    memory_bytes: int
    file_bytes: int
    open_files: int = 64


def missing() -> list[str]:
    """What this machine cannot give, in words; empty where all is to be had. Changes nothing."""
    lacks = []
    if _libc().prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, None, 0, 0) and ctypes.get_errno() != _EFAULT:
        lacks.append("no system call filter (seccomp): a converter could open sockets and start programs")
    elif platform.machine() not in _MACHINES:
        lacks.append(
            f"no system call filter for {platform.machine()}: a converter could open sockets and start programs"
        )
    if _landlock_version() < 1:
        lacks.append("no Landlock: a converter could read every file that this user can read")
    return lacks


def confine(limits: ProcessLimits, *, readable: Sequence[Path], writable: Path) -> list[str]:
    """Confine this process and all that it starts. Gives what failed, in words. What is to be imported later must be readable."""
    libc, failed = _libc(), []
    libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)  # it ends with whoever started it, also in the middle of a file
    os.nice(10)
    for kind, most in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(kind, (most, most))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return [f"no_new_privs: {os.strerror(ctypes.get_errno())}"]  # neither of the others is allowed without
    measures: dict[str, Callable[[], None]] = {
        "Landlock": lambda: _landlock(libc, readable, writable),
        "capabilities": lambda: _drop_capabilities(libc),
        "seccomp": lambda: _filter_calls(libc),
    }
    for name, measure in measures.items():
        try:
            measure()
        except OSError as error:
            failed.append(f"{name}: {error.strerror}")
    return failed


def allow_cpu(seconds: float) -> None:
    """From now on the process may use so many seconds of processor time; then it is killed."""
    used = os.times()
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.user + used.system + seconds) + 1, hard))


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _drop_capabilities(libc: Any) -> None:
    machine = _MACHINES.get(platform.machine())
    if os.geteuid() == 0 and machine is not None:
        version_3 = struct.pack("<Ii", 0x20080522, 0)
        _check(libc.syscall(machine.capset, version_3, bytes(24)))


def _filter_calls(libc: Any) -> None:
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return
    program = _program(machine)
    code = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    _check(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, head, 0, 0))


def _program(machine: _Machine) -> bytes:
    """The filter, in classic BPF: for each call the number is compared, and most are allowed."""
    load, equal, at_least, any_bit, give = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, kill, refuse = 0x7FFF0000, 0x80000000, 0x00050000
    number, arch, first_argument = 0, 4, 16

    def step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("<HBBI", code, if_true, if_false, value)

    steps = [
        step(load, arch),
        step(equal, machine.audit, 1),
        step(give, kill),
        step(load, number),
        step(at_least, 0x40000000, 0, 1),  # x86's other set of numbers (x32)
        step(give, refuse | _EPERM),
        step(equal, _CLONE3, 0, 1),  # its flags cannot be seen; the C library then takes `clone`
        step(give, refuse | _ENOSYS),
        step(equal, machine.clone, 0, 4),
        step(load, first_argument),
        step(any_bit, _CLONE_THREAD, 0, 1),
        step(give, allow),
        step(give, refuse | _EPERM),
    ]
    for call in (*machine.denied, *_DENIED_EVERYWHERE):
        steps += [step(equal, call, 0, 1), step(give, refuse | _EPERM)]
    return b"".join([*steps, step(give, allow)])


def _landlock_version() -> int:
    return int(_libc().syscall(_LANDLOCK_CREATE, None, 0, 1))


def _landlock(libc: Any, readable: Sequence[Path], writable: Path) -> None:
    version = _landlock_version()
    if version < 1:
        return
    every = (1 << _FS_RIGHTS[min(version, 5)]) - 1
    # Files; from version 4 on TCP, too; from 6 on signals and abstract sockets out of here.
    handled = struct.pack("<QQQ", every, 3, 3)[: 8 if version < 4 else 16 if version < 6 else 24]
    rules = _check(libc.syscall(_LANDLOCK_CREATE, handled, len(handled), 0))
    try:
        for path in readable:
            _allow(libc, rules, path, _READ_FILE | _READ_DIR)
        _allow(libc, rules, writable, every & ~_EXECUTE)
        _check(libc.syscall(_LANDLOCK_RESTRICT, rules, 0))
    finally:
        os.close(rules)


def _allow(libc: Any, rules: int, path: Path, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not path.is_dir():
            rights &= _EXECUTE | _WRITE_FILE | _READ_FILE
        _check(libc.syscall(_LANDLOCK_ADD, rules, 1, struct.pack("<Qi", rights, place), 0))
    finally:
        os.close(place)
