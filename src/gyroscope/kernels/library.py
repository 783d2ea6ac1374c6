"""The compiled library, if it was built when the package was installed (see ``hatch_build.py``)."""

from __future__ import annotations

import ctypes
import zlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

# What it is compiled with. No -march: a wheel must run on every machine of its kind. No contraction
# of a * b + c: the same numbers everywhere.
FLAGS = ("-std=c11", "-O3", "-ffp-contract=off", "-fPIC", "-shared", "-Wall", "-Wextra")


def sources() -> list[Path]:
    """The C files that the library is made of; what they include stands beside them."""
    return sorted(Path(__file__).parent.glob("*.c"))


def library_path() -> Path:
    """Where the library is, once it is built.

    Its name holds a checksum of the sources and of the flags: one that is left from others is never
    loaded. It does not end as extension modules do, for it is none.
    """
    checksum = zlib.crc32(" ".join(FLAGS).encode())
    for source in sorted(Path(__file__).parent.glob("*.[ch]")):
        checksum = zlib.crc32(source.read_bytes(), checksum)
    return Path(__file__).with_name(f"_kernels_{checksum:08x}.lib")


@cache
def library() -> ctypes.CDLL | None:
    """The library, or None if there is none that can be loaded here."""
    try:
        return ctypes.CDLL(str(library_path()))
    except OSError:  # not built, or built for another kind of machine
        return None


def compiled() -> bool:
    """Whether the loops run in C; in NumPy they are some ten times slower."""
    return library() is not None


def address(array: NDArray[Any]) -> ctypes.c_void_p:
    """Where the values of an array are, for a kernel; the array must outlive the call."""
    return ctypes.c_void_p(array.ctypes.data)
