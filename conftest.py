"""Every test and doctest runs in double precision unless it leaves it on purpose."""

import pytest

from finitewidth.precision import double_precision


@pytest.fixture(autouse=True)
def _double_precision():
    with double_precision():
        yield
