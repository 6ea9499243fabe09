"""One small report that several tests look at."""

import numpy as np
import pytest

from finitewidth.report import build_report


@pytest.fixture(scope="session")
def x():
    return np.random.default_rng(5).normal(size=(3, 4))


@pytest.fixture(scope="session")
def small(x):
    return build_report(
        ["relu", "sin"], depth=3, width=10, data=x, networks=800, ntk_networks=200, seed=2
    )
