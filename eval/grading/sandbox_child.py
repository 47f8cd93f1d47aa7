"""What runs inside the sandbox: lock the process down, then run the program.

The file is run by itself, by an isolated interpreter, and imports only the standard library.
Limits come first, then Landlock (which files may be touched), then seccomp (which system calls
are refused). None of them can be undone from within, and none needs privileges.
"""

import ctypes
import json
import os
import platform
import resource
import struct
import sys
import sysconfig
import traceback

__all__ = ["FAILED", "NOT_LOCKED", "main"]

NOT_LOCKED = 97
FAILED = 98

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_PR_CAPBSET_DROP = 24
_SECCOMP_MODE_FILTER = 2
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_ACCESS_V1 = (1 << 13) - 1
_ACCESS_REFER, _ACCESS_TRUNCATE, _ACCESS_IOCTL = 1 << 13, 1 << 14, 1 << 15
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_NET_TCP = 3
_SCOPES = 3

# x86_64 and arm64: what reaches other processes, the network or the system, and what changes
# files without writing to them, which Landlock does not cover
_REFUSED = {
    "x86_64": {
        "socket": 41, "kill": 62, "tkill": 200, "ptrace": 101, "fork": 57, "vfork": 58,
        "execve": 59, "execveat": 322, "mount": 165, "umount2": 166, "unshare": 272,
        "setns": 308, "pivot_root": 155, "chroot": 161, "process_vm_readv": 310,
        "process_vm_writev": 311, "pidfd_open": 434, "pidfd_send_signal": 424, "pidfd_getfd": 438,
        "io_uring_setup": 425, "bpf": 321, "userfaultfd": 323, "perf_event_open": 298,
        "keyctl": 250, "add_key": 248, "request_key": 249, "init_module": 175,
        "finit_module": 313, "kexec_load": 246, "reboot": 169, "settimeofday": 164,
        "clock_settime": 227, "sethostname": 170, "setpriority": 141, "sched_setaffinity": 203,
        "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297, "shmget": 29, "msgget": 68, "semget": 64,
        "prlimit64": 302, "setrlimit": 160, "chmod": 90, "fchmod": 91, "fchmodat": 268,
        "fchmodat2": 452, "chown": 92, "fchown": 93, "lchown": 94, "fchownat": 260, "utime": 132,
        "utimes": 235, "utimensat": 280, "futimesat": 261, "setxattr": 188, "lsetxattr": 189,
        "fsetxattr": 190, "removexattr": 197, "lremovexattr": 198, "fremovexattr": 199,
    },
    "aarch64": {
        "socket": 198, "kill": 129, "tkill": 130, "ptrace": 117, "execve": 221, "execveat": 281,
        "mount": 40, "umount2": 39, "unshare": 97, "setns": 268, "pivot_root": 41, "chroot": 51,
        "process_vm_readv": 270, "process_vm_writev": 271, "pidfd_open": 434,
        "pidfd_send_signal": 424, "pidfd_getfd": 438, "io_uring_setup": 425, "bpf": 280,
        "userfaultfd": 282, "perf_event_open": 241, "keyctl": 219, "add_key": 217,
        "request_key": 218, "init_module": 105, "finit_module": 273, "kexec_load": 104,
        "reboot": 142, "settimeofday": 170, "clock_settime": 112, "sethostname": 161,
        "setpriority": 140, "sched_setaffinity": 122, "rt_sigqueueinfo": 138,
        "rt_tgsigqueueinfo": 240, "shmget": 194, "msgget": 186, "semget": 190,
        "prlimit64": 261, "setrlimit": 164, "fchmod": 52, "fchmodat": 53, "fchmodat2": 452,
        "fchownat": 54, "fchown": 55, "utimensat": 88, "setxattr": 5, "lsetxattr": 6,
        "fsetxattr": 7, "removexattr": 14, "lremovexattr": 15, "fremovexattr": 16,
    },
}  # fmt: skip
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = 435
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000
_CLONE_THREAD = 0x10000
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_LOAD, _EQUAL, _AT_LEAST, _SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    """Read the job from standard input, run it, and say on the last line that all of it ran."""
    job = json.loads(sys.stdin.buffer.read())
    try:
        _limit(job["cpu_s"], job["memory_bytes"], job["file_bytes"])
        _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
        _drop_capabilities()
        _landlock(job["folder"])
        _seccomp()
    except OSError as error:
        print(error, file=sys.stderr)
        return NOT_LOCKED
    os.chdir(job["folder"])
    names = {"__name__": "__main__", "__builtins__": __builtins__}
    try:
        for part in job["parts"]:
            exec(compile(part, "<answer>", "exec"), names)
    except BaseException:
        traceback.print_exc(limit=4)
        return FAILED
    sys.stdout.flush()
    os.write(job["passed_fd"], job["token"].encode())
    return 0


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _limit(cpu_s: int, memory_bytes: int, file_bytes: int) -> None:
    for kind, value in (
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        resource.setrlimit(kind, (value, value))


def _drop_capabilities() -> None:
    """Leave root without its powers; for other users there is nothing to drop."""
    for capability in range(64):
        _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    header = struct.pack("Ii", 0x20080522, 0)
    number = {"x86_64": 126, "aarch64": 91}[platform.machine()]
    _check(_libc.syscall(number, header, bytes(24)), "capset")


def _landlock(folder: str) -> None:
    """Let the process read its interpreter and its libraries, and write in one folder."""
    version = _check(_libc.syscall(_LANDLOCK_CREATE, None, 0, 1), "Landlock")
    access = _ACCESS_V1
    access |= _ACCESS_REFER if version >= 2 else 0
    access |= _ACCESS_TRUNCATE if version >= 3 else 0
    access |= _ACCESS_IOCTL if version >= 5 else 0
    attribute = struct.pack(
        "QQQ", access, _NET_TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0
    )
    size = 8 if version < 4 else 16 if version < 6 else 24
    rules = _check(_libc.syscall(_LANDLOCK_CREATE, attribute[:size], size, 0), "Landlock")
    reading = _EXECUTE | _READ_FILE | _READ_DIR
    roots = {sys.prefix, sys.base_prefix, sysconfig.get_path("stdlib")}
    for path in (*sorted(roots), "/usr/lib", "/usr/share/zoneinfo", "/lib", "/lib64"):
        _allow(rules, path, reading)
    for path in ("/dev/null", "/dev/urandom", "/dev/zero"):
        _allow(rules, path, _READ_FILE | _WRITE_FILE)
    _allow(rules, folder, access & ~_EXECUTE)
    _check(_libc.syscall(_LANDLOCK_RESTRICT, rules, 0), "Landlock")
    os.close(rules)


def _allow(rules: int, path: str, access: int) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    rule = struct.pack("=Qi", access, parent)
    _check(_libc.syscall(_LANDLOCK_ADD, rules, 1, rule, 0), f"Landlock for {path}")
    os.close(parent)


def _seccomp() -> None:
    """Refuse the system calls that lead out of the process; threads may be started."""
    machine = platform.machine()
    if machine not in _REFUSED:
        raise OSError(_ENOSYS, f"seccomp: no list of system calls for {machine}")
    refused = _ERRNO | _EPERM
    program = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, _AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
        (_AT_LEAST, 0, 1, _X32_BIT),
        (_RETURN, 0, 0, refused),
        (_EQUAL, 0, 1, _CLONE3),
        (_RETURN, 0, 0, _ERRNO | _ENOSYS),
    ]
    for number in sorted(_REFUSED[machine].values()):
        program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, refused)]
    program += [
        (_EQUAL, 0, 3, _CLONE[machine]),
        (_LOAD, 0, 0, 16),
        (_SET, 1, 0, _CLONE_THREAD),
        (_RETURN, 0, 0, refused),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    filters = struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer))
    _check(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, filters, 0, 0), "seccomp")


if __name__ == "__main__":
    sys.stdout.flush()
    code: int = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
