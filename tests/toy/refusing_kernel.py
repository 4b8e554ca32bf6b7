"""A kernel that refuses: system calls that fail as they do on a bad disk, for the time of one function.

Linux lets a thread give up system calls for good (seccomp), so the function runs in a thread of its own. Nothing is
replaced in Python: the code under test makes the real call and gets the real error.
"""

import ctypes
import platform
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

NUMBERS = {
    "x86_64": {"fsync": (74,), "link": (86, 265), "rename": (82, 264, 316)},
    "aarch64": {"fsync": (82,), "link": (37,), "rename": (38, 276)},
}.get(platform.machine(), {})
available = sys.platform == "linux" and bool(NUMBERS)

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, MODE_FILTER = 38, 22, 2
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, FAIL = 0x7FFF0000, 0x00050000


class _Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32)]


class _Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_uint16), ("filter", ctypes.POINTER(_Instruction))]


def run(function: Callable[[], Any], **refused: int) -> Any:
    """Runs a function while system calls fail, and returns what it returns.

    Args:
        refused: The error number by call: `fsync=errno.EIO`.
    """
    with ThreadPoolExecutor(1, initializer=_give_up, initargs=(refused,)) as thread:
        return thread.submit(function).result()


def _give_up(refused: dict[str, int]) -> None:
    steps = [(LOAD, 0, 0, 0)]  # the number of the call
    for name, error in refused.items():
        for number in NUMBERS[name]:
            steps += [(JUMP_IF_EQUAL, 0, 1, number), (RETURN, 0, 0, FAIL | error)]
    steps.append((RETURN, 0, 0, ALLOW))
    program = _Program(len(steps), (_Instruction * len(steps))(*steps))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, MODE_FILTER, ctypes.byref(program)):
        raise OSError(ctypes.get_errno(), "The kernel takes no filter of system calls")
