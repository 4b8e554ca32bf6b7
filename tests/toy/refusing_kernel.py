"""A kernel that refuses: system calls that fail as they do on a bad disk, for the time of one function.

Linux lets a thread give up system calls for good (seccomp), so the function runs in a thread of its own. Nothing is
replaced in Python: the code under test makes the real call and gets the real error.
"""

import ctypes
import os
import platform
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

NUMBERS = {
    "x86_64": {"fsync": (74,), "link": (86, 265), "rename": (82, 264, 316), "unlink": (87, 263), "create": (257,)},
    "aarch64": {"fsync": (82,), "link": (37,), "rename": (38, 276), "unlink": (35,), "create": (56,)},
}.get(platform.machine(), {})
available = sys.platform == "linux" and bool(NUMBERS)

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, MODE_FILTER = 38, 22, 2
LOAD, JUMP_IF_EQUAL, JUMP_IF_SET, RETURN = 0x20, 0x15, 0x45, 0x06
NUMBER, FLAGS = 0, 32  # where a filter finds the number of the call, and the third argument
ALLOW, FAIL = 0x7FFF0000, 0x00050000


class _Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32)]


class _Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_uint16), ("filter", ctypes.POINTER(_Instruction))]


def run(function: Callable[[], Any], **refused: int) -> Any:
    """Runs a function while system calls fail, and returns what it returns.

    Args:
        refused: The error number by call, `fsync=errno.EIO`; `create` is to open a file that is not there yet.
    """
    with ThreadPoolExecutor(1, initializer=_give_up, initargs=(refused,)) as thread:
        return thread.submit(function).result()


def _give_up(refused: dict[str, int]) -> None:
    steps: list[tuple[int, int, int, int]] = []
    for name, error in refused.items():
        for number in NUMBERS[name]:
            creating = [(LOAD, 0, 0, FLAGS), (JUMP_IF_SET, 0, 1, os.O_CREAT)] if name == "create" else []
            rest = [*creating, (RETURN, 0, 0, FAIL | error)]
            steps += [(LOAD, 0, 0, NUMBER), (JUMP_IF_EQUAL, 0, len(rest), number), *rest]
    steps.append((RETURN, 0, 0, ALLOW))
    program = _Program(len(steps), (_Instruction * len(steps))(*steps))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, MODE_FILTER, ctypes.byref(program)):
        raise OSError(ctypes.get_errno(), "The kernel takes no filter of system calls")
