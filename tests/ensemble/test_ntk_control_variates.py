"""The controlled shift of the mean NTK: the mean of the plain estimator, an error of order one."""

import jax.numpy as jnp
import numpy as np
import pytest

from finitewidth.ensemble import measure
from finitewidth.network import MLP

X = np.array([[1.2, 0.1, -0.4, 0.7], [0.5, 0.9, 0.3, -0.2]])
C_B, C_W, LAMBDA_B, LAMBDA_W = 0.1, 1.3, 0.4, 0.9


def sine_map(metric, ntk):
    """Means of the next metric and NTK of a sine network, in closed form."""
    d = jnp.diagonal(metric, axis1=-2, axis2=-1)
    damping = jnp.exp(-0.5 * (d[..., :, None] + d[..., None, :]))
    sines, cosines = damping * jnp.sinh(metric), damping * jnp.cosh(metric)
    return C_B + C_W * sines, LAMBDA_B + LAMBDA_W * sines + C_W * cosines * ntk


def linear_map(metric, ntk):
    return C_W * metric, LAMBDA_B + LAMBDA_W * metric + C_W * ntk


def network(width, activation="sin", C_b=C_B, **options):
    rates = {"lambda_b": LAMBDA_B, "lambda_W": LAMBDA_W}
    return MLP((4, *(width,) * 3, 1), activation, C_b=C_b, C_W=C_W, **rates, **options)


def frozen_ntks(layers=4):
    states = [(C_B + C_W * X @ X.T / 4, LAMBDA_B + LAMBDA_W * X @ X.T / 4)]
    while len(states) < layers:
        states.append(sine_map(*states[-1]))
    return np.array([np.asarray(ntk) for _, ntk in states])


MAPS = (sine_map,) * 3


def test_controlled_and_plain_estimators_agree():
    # At width 6 the shift is large enough for the plain mean to see it.
    m = measure(network(6), X, "metric", 20_000, 1, ntk_control_variate=MAPS)
    plain = measure(network(6), X, ("ntk", "A"), 60_000, 2)
    value, error = 6 * (plain.ntk.value - frozen_ntks()), 6 * plain.ntk.standard_error
    scores = (m.nlo_ntk.value - value)[1:] / np.hypot(m.nlo_ntk.standard_error, error)[1:]
    assert np.max(np.abs(scores)) < 3.5
    # Layers 3 and 4 shift (layer 2 does not, exactly), and the controlled estimator sees it well.
    assert (np.abs(value[2:]) / error[2:]).max() > 4
    assert (np.abs(m.nlo_ntk.value[2:] / m.nlo_ntk.standard_error[2:]) > 6).all()
    assert (np.abs(m.nlo_ntk.value[1]) < 5 * m.nlo_ntk.standard_error[1] + 1e-13).all()
    assert (m.nlo_ntk.value[0] == 0).all()


def test_the_error_stays_of_order_one_while_the_plain_one_grows():
    def errors(width, samples):
        m = measure(network(width), X, "ntk", samples, 3, ntk_control_variate=MAPS)
        scale = np.sqrt(samples)
        plain = width * m.ntk.standard_error[3, 0, 0]
        return scale * m.nlo_ntk.standard_error[3, 0, 0], scale * plain

    (narrow, plain_narrow), (wide, plain_wide) = errors(6, 4000), errors(54, 800)
    assert 0.5 < wide / narrow < 1.6
    assert 1.8 < plain_wide / plain_narrow < 3.2  # the square root of 9, but for 1/n
    assert wide < plain_wide / 2


def test_the_metric_is_controlled_too_and_by_the_same_maps():
    m = measure(network(6), X, (), 200, 1, ntk_control_variate=MAPS)
    assert list(m) == ["nlo_metric", "nlo_ntk"]
    alone = measure(
        network(6), X, "ntk", 200, 1, control_variate=[lambda G: sine_map(G, G)[0]] * 3,
        ntk_control_variate=MAPS,
    )  # fmt: skip
    np.testing.assert_allclose(alone.nlo_metric.value, m.nlo_metric.value, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(alone.nlo_ntk.value, m.nlo_ntk.value)


def test_a_linear_network_has_no_shift():
    """Metric and NTK of a linear network are martingales at any width."""
    m = measure(
        network(5, "linear", C_b=0.0), X, (), 40_000, 4, ntk_control_variate=[linear_map] * 3
    )
    assert (m.nlo_metric.value == 0).all()
    z = m.nlo_ntk.value[2:] / m.nlo_ntk.standard_error[2:]
    assert np.max(np.abs(z)) < 3.5
    assert (m.nlo_ntk.value[:2] == 0).all()


def test_wrong_layer_maps_and_laws_are_refused():
    with pytest.raises(ValueError, match=r"ntk_control_variate: wanted 3 layer maps.*got 2"):
        measure(network(6), X, samples=10, ntk_control_variate=MAPS[:2])
    with pytest.raises(ValueError, match=r"nlo_ntk is measured.*`ntk_control_variate`, got none"):
        measure(network(6), X, "nlo_ntk", samples=10)
    with pytest.raises(ValueError, match=r"nlo_ntk needs weights"):
        measure(network(6), X, (), 10, method="chain", ntk_control_variate=MAPS)
    for law in ("uniform", "orthogonal"):
        with pytest.raises(ValueError, match=f"law: nlo_metric .* gaussian weights only.*{law}"):
            measure(network(6, law=law), X, (), 10, ntk_control_variate=MAPS)
