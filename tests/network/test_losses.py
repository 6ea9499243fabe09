"""Losses and error factors against optax, SciPy and finite differences written out by hand."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import log_softmax, softmax

import finitewidth as fw
from finitewidth.network import Loss, cross_entropy, loss_of, mean_squared_error
from finitewidth.network.losses import check_targets

rng = np.random.default_rng(0)
Z = rng.standard_normal((5, 3))
Y = rng.standard_normal((5, 3))
P = softmax(rng.standard_normal((5, 3)), axis=1)
CLASSES = np.array([0, 2, 1, 1, 0])


def test_mean_squared_error_is_a_sum_over_samples():
    assert float(mean_squared_error(Z, Y)) == pytest.approx(((Z - Y) ** 2).sum() / 2)
    np.testing.assert_allclose(mean_squared_error.error_factor(Z, Y), Z - Y, rtol=1e-14)
    twice = mean_squared_error(np.tile(Z, (2, 1)), np.tile(Y, (2, 1)))
    assert float(twice) == pytest.approx(2 * float(mean_squared_error(Z, Y)))


def test_cross_entropy():
    assert float(cross_entropy(Z, P)) == pytest.approx(-(P * log_softmax(Z, axis=1)).sum())
    with fw.double_precision():
        peer = float(optax.softmax_cross_entropy_with_integer_labels(jnp.asarray(Z), CLASSES).sum())
    labels = check_targets(CLASSES, 5, 3, cross_entropy)
    assert float(cross_entropy(Z, labels)) == pytest.approx(peer, rel=1e-13)
    # Targets that do not sum to 1: eps = p sum y - y.
    weights = 2.5 * P
    wanted = softmax(Z, axis=1) * weights.sum(axis=1, keepdims=True) - weights
    np.testing.assert_allclose(cross_entropy.error_factor(Z, weights), wanted, atol=1e-14)
    huge = cross_entropy([[1e4, 0.0]], [[0.0, 1.0]])
    assert float(huge) == pytest.approx(1e4)


def test_any_loss_against_finite_differences():
    loss = loss_of(lambda z, y: jnp.log(jnp.cosh(z - y)).sum() + z[0] * z[-1])
    got = np.asarray(loss.error_factor(Z, Y))
    for place in np.ndindex(Z.shape):
        step = np.zeros_like(Z)
        step[place] = 1e-6
        difference = (float(loss(Z + step, Y)) - float(loss(Z - step, Y))) / 2e-6
        assert got[place] == pytest.approx(difference, abs=1e-8)
    assert isinstance(loss, Loss) and loss_of(loss) is loss


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: loss_of("huber"), ValueError, "loss: wanted one of mse"),
        (lambda: loss_of(3), TypeError, "loss"),
        (lambda: check_targets(Y, 4, 3, mean_squared_error), ValueError, "4 targets"),
        (lambda: check_targets(Y, 5, 2, mean_squared_error), ValueError, r"shape \(5, 2\)"),
        (lambda: check_targets(CLASSES, 5, 2, cross_entropy), ValueError, "classes from 0 to 1"),
        (lambda: check_targets([np.nan], 1, 1, mean_squared_error), ValueError, "finite"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
