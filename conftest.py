"""Every test and doctest runs in double precision unless it leaves it on purpose.

Most of the time of the suite is compilation. It is done without optimization, which makes it two
to three times as fast and what is computed as right as before; XLA_FLAGS of your own are left as
they are, so that `XLA_FLAGS= pytest` compiles as users do. What was compiled is kept in the cache
folder of pytest, for the other workers and for the next run; `pytest --cache-clear` starts afresh.
"""

import gc
import os
import subprocess
import sys
from pathlib import Path

import hypothesis
import jax
import pytest

from finitewidth.precision import double_precision

#: Compiled functions are let go of when they occupy so many of the memory maps of a process, of
#: which Linux allows 65530 (vm.max_map_count); beyond that the compiler crashes.
MOST_MEMORY_MAPS = 25_000

#: What makes the compiler fast. A compiler that does not know a flag ends the process.
QUICK_FLAGS = "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0"

# The first example of a test compiles, and no test is timed.
hypothesis.settings.register_profile("finitewidth", deadline=None)
hypothesis.settings.load_profile("finitewidth")


def pytest_configure(config):
    """Compile quickly, and share compiled functions between workers and runs."""
    if "XLA_FLAGS" not in os.environ:
        os.environ["XLA_FLAGS"] = QUICK_FLAGS if knows(QUICK_FLAGS) else ""
    jax.config.update("jax_compilation_cache_dir", str(config.cache.mkdir("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def knows(flags: str) -> bool:
    """Try whether the compiler takes these flags. The workers of a run inherit what was found."""
    trial = [sys.executable, "-c", "import jax; jax.numpy.zeros(1)"]
    environment = os.environ | {"XLA_FLAGS": flags}
    return subprocess.run(trial, env=environment, capture_output=True).returncode == 0


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
