"""Every test and doctest runs in double precision unless it leaves it on purpose.

Most of the time of the suite is compilation. What was compiled is kept in the cache folder of
pytest, for the other workers and for the next run; `pytest --cache-clear` starts afresh.
"""

import gc
from pathlib import Path

import jax
import pytest

from finitewidth.precision import double_precision

#: Compiled functions are let go of when they occupy so many of the memory maps of a process, of
#: which Linux allows 65530 (vm.max_map_count); beyond that the compiler crashes.
MOST_MEMORY_MAPS = 25_000


def pytest_configure(config):
    """Share compiled functions between workers and runs."""
    jax.config.update("jax_compilation_cache_dir", str(config.cache.mkdir("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


@pytest.fixture(autouse=True)
def _double_precision():
    with double_precision():
        yield


@pytest.fixture(autouse=True, scope="module")
def _forget_compiled_functions():
    yield
    if memory_maps() > MOST_MEMORY_MAPS:
        jax.clear_caches()
        gc.collect()


def memory_maps() -> int:
    """Return how many memory maps this process has, 0 where the system does not tell."""
    maps = Path("/proc/self/maps")
    return maps.read_bytes().count(b"\n") if maps.exists() else 0
