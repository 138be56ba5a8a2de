"""How often compiled kernels ask for memory, as Numba counts it."""

from contextlib import contextmanager

from numba.core.runtime import _nrt_python, rtsys


@contextmanager
def counted_allocations():
    """Give a function that returns how often Numba took memory so far; every array handed to a kernel counts once, too."""
    _nrt_python.memsys_enable_stats()
    try:
        yield lambda: rtsys.get_allocation_stats().mi_alloc
    finally:
        _nrt_python.memsys_disable_stats()
