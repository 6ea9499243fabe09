"""Compare a number with one that was printed with a limited number of digits."""

from decimal import Decimal

import pytest


@pytest.fixture
def printed():
    """Assert that a number agrees with printed digits, up to one unit in the last of them."""

    def check(value: float, digits: str) -> None:
        unit = 10.0 ** Decimal(digits).as_tuple().exponent
        assert abs(value - float(digits)) <= 1.001 * unit, f"{value!r} is not {digits}"

    return check
