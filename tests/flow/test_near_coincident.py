"""Two nearby inputs against the flow of the whole two-by-two kernel."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import finitewidth as fw
from finitewidth.criticality import classify
from finitewidth.flow.near_coincident import (
    from_gamma_components,
    gamma_components,
    near_coincident_expectation,
    nearby_flow,
    nearby_inputs,
    slope_jumps,
)
from tests.flow.book_form import gaussian_nodes

MIDDLE, DIRECTION = np.array([1.0, 0.4]), np.array([0.3, -1.0])


@settings(max_examples=25)
@given(st.lists(st.floats(-3, 3), min_size=3, max_size=3))
def test_the_gamma_basis_is_a_basis(parts):
    K = from_gamma_components(parts)
    np.testing.assert_allclose(gamma_components(K), parts, atol=1e-14)
    # K_++ = K_[0] + K_[1] + K_[2] and so on, PDLT (5.18).
    a, b, c = parts
    np.testing.assert_allclose(K, [[a + b + c, a - c], [a - c, a - b + c]], atol=1e-14)


def test_distances():
    """R = |x_+|^2 - |x_-|^2 = 2 K_[1] and D = |x_+ - x_-|^2 = 4 K_[2] for a linear kernel."""
    x = np.array([[1.0, 2.0, -0.5], [0.3, 1.5, 0.1]])
    _, first, second = map(float, gamma_components(x @ x.T))
    assert 2 * first == pytest.approx((x[0] ** 2).sum() - (x[1] ** 2).sum())
    assert 4 * second == pytest.approx(((x[0] - x[1]) ** 2).sum())


def test_expectations_to_second_order_in_the_distance():
    """The remainder of PDLT (5.39) over eps^2 falls like eps; with the minus of (5.38) it stays."""

    def F(p, m):
        return jnp.tanh(p + 0.3) * jnp.cos(m - 0.2) + p**2 * m

    K, size = 0.9, (0.4, 0.5, 0.7)
    remainder, with_minus = [], []
    for eps in (0.02, 0.01):
        dK_1, ddK_2, ddK_0 = size[0] * eps, size[1] * eps**2, size[2] * eps**2
        z, w = gaussian_nodes(np.asarray(from_gamma_components([K + ddK_0, dK_1, ddK_2])), 64)
        exact = (w * np.asarray(F(z[:, 0], z[:, 1]))).sum()
        got = float(near_coincident_expectation(F, K, dK_1, ddK_2, ddK_0))
        wrong = float(near_coincident_expectation(F, K, dK_1, ddK_2, -ddK_0))
        remainder.append(abs(got - exact) / eps**2)
        with_minus.append(abs(wrong - exact) / eps**2)
    assert remainder[0] / remainder[1] == pytest.approx(2, rel=0.08)
    assert with_minus[1] / with_minus[0] == pytest.approx(1, rel=0.1)


def miss(name, eps, **options):
    """Return the relative errors of K_00, dK_1 and ddK_2 at layer 6 for inputs eps apart."""
    net = fw.MLP((2, 9, 9, 9, 9, 9, 1), name, C_b=0.1, C_W=[1.2, 1.3, 1.1, 1.2, 1.3, 1.2])
    pair = MIDDLE + eps * np.array([[0.5], [-0.5]]) * DIRECTION
    three = np.concatenate([pair, [MIDDLE]])
    kernel = np.asarray(fw.flow.preactivations(net, three, order=0).kernel[-1])
    nearby = nearby_inputs(net, *pair, **options)
    _, first, second = np.asarray(gamma_components(kernel[:2, :2]))
    return np.array(
        [
            float(nearby.midpoint[-1]) / kernel[2, 2] - 1,
            float(nearby.dK_1[-1]) / first - 1,
            float(nearby.ddK_2[-1]) / second - 1,
        ]
    )


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("tanh", 2),
        ("relu", 3),
        pytest.param("selu", 2, marks=pytest.mark.slow),
        pytest.param("hard_tanh", 2, marks=pytest.mark.slow),
        pytest.param("elu", 2, marks=pytest.mark.slow),
        pytest.param("leaky_relu(-0.3)", 3, marks=pytest.mark.slow),
    ],
)
def test_the_recursions_against_the_whole_kernel(name, order):
    """(5.46)-(5.48): the midpoint is exact, the rest wrong by the square of the distance.

    The series of a scale-invariant activation goes on with the third power instead.
    """
    coarse, fine = miss(name, 0.04), miss(name, 0.02)
    assert abs(fine[0]) < 1e-11
    assert np.abs(fine[1:]).max() < 4e-4
    assert fine[2] / coarse[2] == pytest.approx(0.5**order, rel=0.03)


@pytest.mark.parametrize("name", ["relu", pytest.param("selu", marks=pytest.mark.slow)])
def test_without_the_term_of_kinks_the_error_is_linear(name):
    coarse, fine = miss(name, 0.04, kinks=False), miss(name, 0.02, kinks=False)
    assert fine[2] / coarse[2] == pytest.approx(0.5, rel=0.03)
    assert fine[2] > 20 * abs(miss(name, 0.02)[2])


def test_places_where_the_slope_jumps():
    assert slope_jumps(fw.activation("relu")) == ((0.0, 1.0),)
    assert slope_jumps(fw.activation("hard_tanh")) == ((-1.0, 1.0), (1.0, -1.0))
    assert slope_jumps(fw.activation("elu")) == ()
    assert slope_jumps(fw.activation("tanh")) == ()


def test_parallel_inputs_stay_parallel():
    """A difference of norms alone: psi = 0, for which kinks at 0 are never crossed."""
    net = fw.MLP.critical((2, *(9,) * 20, 1), "relu")
    nearby = nearby_inputs(net, 1.01 * MIDDLE, 0.99 * MIDDLE)
    np.testing.assert_allclose(nearby.ddK_2, nearby.ddK_2[0], rtol=1e-7)
    np.testing.assert_allclose(nearby.angle, 0.0, atol=1e-8)


def test_the_term_of_a_scale_invariant_activation():
    """ddK_2' = ddK_2 - (4 rho/3) K^(-1/2) ddK_2^(3/2) at criticality and equal norms, (5.164)."""
    net = fw.MLP.critical((2, 9, 9, 1), "relu")
    rho = classify("relu").constants["rho"]
    x = np.array([1.0, 0.2]), np.array([1.0, -0.2])
    nearby = nearby_inputs(net, *x)
    second = np.asarray(nearby.ddK_2)
    want = second[:-1] - 4 * rho / 3 * second[:-1] ** 1.5 / math.sqrt(float(nearby.midpoint[0]))
    np.testing.assert_allclose(second[1:], want, rtol=1e-12)


def test_ratio_of_distance_and_norm_is_kept_by_odd_activations():
    """K_[2]/K_[0] tends to a constant in the odd K* = 0 class, PDLT section 5.3.3."""
    depth = 4_000
    ones = jnp.ones(depth)
    flow = nearby_flow(fw.activation("sin"), 1.0, 0.0, 1e-3, 0 * ones, ones)
    ratio = np.asarray(flow.ddK_2 / flow.midpoint)
    assert abs(ratio[-1] / ratio[depth // 2 - 1] - 1) < 1e-3
    assert 0.1 < ratio[-1] / ratio[0] < 10


def test_labelled_results():
    nearby = nearby_inputs(fw.MLP.critical((2, 9, 1), "relu"), MIDDLE, MIDDLE + 0.1)
    assert float(nearby.to_xarray().dK_1.sel(layer=2)) == float(nearby.dK_1[1])
    assert "layer 2: K_00" in repr(nearby)


def test_bad_input_is_refused_in_words():
    with pytest.raises(ValueError, match="2, 2"):
        gamma_components(np.eye(3))
    with pytest.raises(ValueError, match="kernel > 0"):
        near_coincident_expectation(lambda p, m: p * m, 0.0)
    with pytest.raises(ValueError, match="3"):
        from_gamma_components([1.0, 2.0])
