"""Taylor coefficients along a line: finite differences of the exact NTK, and its components."""

import numpy as np
import pytest

from finitewidth.flow import line_jets, nearby_ntk, ntk
from tests.flow.test_nearby_ntk import ALONG, MIDDLE, network

#: Central differences of order 4 at -2h .. 2h, and of order 2 for the third derivative.
STENCIL = {
    0: np.array([0, 0, 1, 0, 0]),
    1: np.array([1, -8, 0, 8, -1]) / 12,
    2: np.array([-1, 16, -30, 16, -1]) / 12,
    3: np.array([-1, 2, 0, -2, 1]) / 2,
}


@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_finite_differences(activation):
    """All coefficients of all layers, unequal norms."""
    net = network(activation)
    h = 0.04
    grid = h * np.arange(-2, 3)
    line = MIDDLE + grid[:, None] / 2 * ALONG
    found, exact = line_jets(net, MIDDLE + ALONG / 2, MIDDLE - ALONG / 2), ntk(net, line)
    for jets, matrix in ((found.kernel, exact.kernel), (found.ntk, exact.mean)):
        matrix = np.asarray(matrix)
        for i in range(4):
            for j in range(2):
                want = STENCIL[i] @ matrix @ STENCIL[j] / h ** (i + j)
                # Rounding of the exact kernel, 1e-13, over h^(i+j); truncation h^2 or h^4.
                np.testing.assert_allclose(
                    jets[:, i, j], want, rtol=2e-3 if i == 3 else 2e-6, atol=3e-13 / h ** (i + j),
                    err_msg=f"{i} {j}",
                )  # fmt: skip
    assert np.abs(found.ntk[-1]).min() > 1e-6  # nothing vanishes here


def test_components_of_nearby_inputs():
    pair = MIDDLE + 0.1 * ALONG, MIDDLE - 0.1 * ALONG
    jets, near = line_jets(network("sin"), *pair), nearby_ntk(network("sin"), *pair)
    for table, zero, first, second in (
        (jets.kernel, near.ddK_0, near.dK_1, near.ddK_2),
        (jets.ntk, near.ddTheta_0, near.dTheta_1, near.ddTheta_2),
    ):
        np.testing.assert_allclose(table[:, 2, 0], zero, rtol=1e-10, atol=1e-16)
        np.testing.assert_allclose(2 * table[:, 1, 0], first, rtol=1e-10)
        np.testing.assert_allclose(table[:, 0, 1], table[:, 1, 0], rtol=1e-10)
        np.testing.assert_allclose(table[:, 1, 1], second, rtol=1e-10)


def test_what_is_refused():
    with pytest.raises(ValueError, match="wanted a smooth one, got relu"):
        line_jets(network("relu"), MIDDLE, ALONG)
