"""The two-point function is exact at every width, PDLT (3.14)."""

import numpy as np
import pytest

from finitewidth import MLP, ensemble
from finitewidth.flow import linear
from tests.flow.linear import sampled

X = np.array([[1.0, 0.2, -0.5], [0.3, -1.1, 0.6]])


def test_no_correction_in_one_over_n_at_widths_of_two_and_three():
    # The metric of the ensemble with C_W = 1 in all layers, critical: it stays what it was.
    net = MLP((3, 3, 2, 3, 1), "linear")
    measured = ensemble.measure(net, X, "metric", 40_000, key=3, method="chain").metric
    theory = linear.kernel(net.widths, 1.0, X @ X.T / 3)
    np.testing.assert_allclose(theory, np.broadcast_to(X @ X.T / 3, theory.shape), rtol=1e-15)
    above = measured.standard_error[1:] > 0
    scores = (measured.value[1:] - theory[1:])[above] / measured.standard_error[1:][above]
    sampled.check(scores)


def test_growth_and_decay_with_the_length_xi():
    assert linear.decay_length(1.0) == np.inf
    assert linear.decay_length(0.0) == 0.0
    for C_W in (0.8, 1.3):
        xi = linear.decay_length(C_W)
        G = linear.kernel((5,) * 31, C_W, 2.0)
        np.testing.assert_allclose(abs(np.log(G[29] / G[9])), 20 / xi, rtol=1e-12)


def test_depth_1000_in_log_space_and_zero_inputs():
    widths = (3,) + (5,) * 1000
    np.testing.assert_allclose(linear.log_kernel(widths, 3.0, 1.0)[-1], 1000 * np.log(3))
    assert (linear.log_kernel(widths, 3.0, 0.0) == -np.inf).all()
    assert (linear.kernel(widths, 1.0, 0.0) == 0).all()
    per_layer = np.linspace(0.5, 2.0, 1000)
    np.testing.assert_allclose(
        linear.log_kernel(widths, per_layer, 1.0), np.cumsum(np.log(per_layer)), rtol=1e-12
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: linear.kernel((3,), 1.0, 1.0), "widths: wanted"),
        (lambda: linear.kernel((3, 2), [1.0, 2.0, 3.0], 1.0), "C_W: wanted one number"),
        (lambda: linear.kernel((3, 2), -1.0, 1.0), "C_W: wanted numbers >= 0"),
        (lambda: linear.kernel((3, 2), 1.0, -1.0), "G0: wanted a finite number >= 0"),
        (lambda: linear.log_kernel((3, 2), 1.0, [1.0]), "G0: wanted a number"),
        (lambda: linear.kernel((3, 2), 1.0, [[1.0, 2.0], [0.0, 1.0]]), "symmetric"),
        (lambda: linear.kernel((3, 2), 1.0, [[1.0, 2.0], [2.0, 1.0]]), "negative eigenvalues"),
        (lambda: linear.kernel((3, 2), 1.0, [[np.nan]]), "finite"),
        (lambda: linear.decay_length(-1.0), "C_W: wanted"),
        (lambda: linear.correlator((3, 2), 1.0, 1.0, 0), "m: wanted at least 1"),
        (lambda: linear.correlator((3, 2), 1.0, 1.0, 2, C_b=-1.0), "C_b: wanted numbers >= 0"),
    ],
)
def test_wrong_arguments_are_refused_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_order_that_is_no_whole_number():
    with pytest.raises(TypeError, match="m: wanted a whole number"):
        linear.correlator((3, 2), 1.0, 1.0, 1.5)
