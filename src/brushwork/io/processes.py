"""Which processes of this machine run, so that what killed ones left behind can be told."""

import os
import socket
import sys
import zlib
from contextlib import suppress
from functools import cache


@cache
def machine() -> str:
    """A short name for what process numbers are unique in: this machine, or a container on it."""
    name = socket.gethostname()
    with suppress(OSError):
        name += os.readlink("/proc/self/ns/pid")
    return f"{zlib.crc32(name.encode()):08x}"


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs."""
    if sys.platform == "win32":  # os.kill(pid, 0) would send it Ctrl-C
        import ctypes

        handle = ctypes.windll.kernel32.OpenProcess(0x1000, False, pid)
        code = ctypes.c_ulong()
        running = bool(handle) and bool(ctypes.windll.kernel32.GetExitCodeProcess(handle, ctypes.byref(code)))
        ctypes.windll.kernel32.CloseHandle(handle)
        return running and code.value == 259
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
