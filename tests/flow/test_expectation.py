"""Expectations at finite width against the book's index form, exact laws and sampled networks."""

import jax.numpy as jnp
import numpy as np
import pytest

import finitewidth as fw
from finitewidth.flow.correlators import neuron_correlator
from finitewidth.flow.effective_action import effective_action
from finitewidth.flow.expectation import expectation, neuron_covariance
from finitewidth.flow.marginal import of_inputs
from finitewidth.flow.preactivations import Preactivations
from tests.flow.book_form import gaussian_nodes

X = np.array([[1.0, 0.4, -0.3], [0.2, -0.5, 0.9]])


@pytest.fixture(scope="module")
def pre():
    return at_widths(100)


def at_widths(factor):
    """Return the statistics at widths (30, 20, 40) times a factor, of which ratios matter alone."""
    net = fw.MLP((3, 30, 20, 40, 2), "sin", C_b=0.1, C_W=1.7)
    base = fw.flow.preactivations(net, X)
    wide = fw.ensemble.scaled(net, factor)
    return Preactivations(wide, base.kernel, base.nlo_metric, base.vertex)


def bump(z):
    return jnp.cos(z[..., 0] + 0.3 * z[..., 1]) + z[..., 0] ** 2 * z[..., 1] ** 2


def book_expectation(action, function, n):
    """PDLT (4.61) as printed: an expansion about the couplings of n neurons."""
    g = np.linalg.inv(action.quadratic)
    v = np.asarray(action.quartic)
    z, w = gaussian_nodes(g, 64)
    f = np.asarray(function(z))
    zz = np.einsum("ka,kb->kab", z, z) - g
    first = np.einsum("k,k,kab->ab", w, f, zz)
    second = np.einsum("k,k,kab,kcd->abcd", w, f, zz, zz)
    mean = (w * f).sum()
    inside = second + 2 * n * np.multiply.outer(first, g)
    inside = inside - 2 * mean * np.einsum("ac,bd->abcd", g, g)
    return mean + np.einsum("abcd,abcd->", v, inside) / 8


@pytest.mark.parametrize("n", [pytest.param(1, marks=pytest.mark.slow), 6])
def test_the_form_of_the_book(n):
    """(4.61) about couplings of n neurons differs in the second order of 1/width alone."""
    differ, change = [], []
    for factor in (30, 60):
        pre = at_widths(factor)
        got = float(expectation(pre, 4, bump).value)
        z, w = gaussian_nodes(np.asarray(pre.kernel[3]), 64)
        change.append(abs(got - (w * np.asarray(bump(z))).sum()))
        differ.append(abs(got - book_expectation(effective_action(pre, 4, n), bump, n)))
    assert change[0] / change[1] == pytest.approx(2, rel=0.05)
    assert differ[0] / differ[1] == pytest.approx(4, rel=0.1)
    assert differ[1] < 0.3 * change[1]


def test_polynomials_are_correlators(pre):
    """E[z_1^2 z_2^2] of one neuron on two inputs, and of two neurons on one input."""
    labels = [(0, 0), (0, 0), (0, 1), (0, 1)]
    want = float(neuron_correlator(pre, 4, labels))
    got = expectation(pre, 4, lambda z: z[0] ** 2 * z[1] ** 2)
    assert float(got.value) == pytest.approx(want, rel=1e-11)
    labels = [(0, 0), (0, 0), (1, 0), (1, 0)]
    want = float(neuron_correlator(pre, 4, labels))
    one = of_inputs(pre, [0])
    got = expectation(one, 4, lambda z: z[0, 0] ** 2 * z[1, 0] ** 2, neurons=2)
    assert float(got.value) == pytest.approx(want, rel=1e-11)


@pytest.mark.slow
def test_kinked_functions_by_parts(pre):
    """The two forms agree for a smooth F; E|z| follows from E[G^(1/2)] to first order."""
    smooth = expectation(pre, 4, bump)
    parts = expectation(pre, 4, bump, smooth=False)
    assert float(parts.value) == pytest.approx(float(smooth.value), abs=1e-10)
    one = of_inputs(pre, [0])
    G = float(one.metric[3, 0, 0])
    V = float(one.vertex.dense()[3, 0, 0, 0, 0]) / 4000
    want = np.sqrt(2 / np.pi) * (np.sqrt(G) - V / (8 * G**1.5))
    got = expectation(one, 4, lambda z: jnp.abs(z[0]), smooth=False)
    assert float(got.value) == pytest.approx(want, abs=3 * float(got.error) + 1e-9)
    assert float(got.correction) == pytest.approx(-np.sqrt(2 / np.pi) * V / (8 * G**1.5), rel=1e-3)


def test_two_neurons_know_of_each_other_through_the_metric(pre):
    """Cosines: <d_a d_b cos(z_0)> = -e^(-K/2) in one entry, so Cov = V e^(-K) /(4 n)."""
    K = np.asarray(pre.kernel[3])
    V = np.asarray(pre.vertex.dense()[3]) / 4000
    got = neuron_covariance(pre, 4, lambda z: jnp.cos(z[0]), lambda z: jnp.cos(z[1]))
    want = V[0, 0, 1, 1] * np.exp(-(K[0, 0] + K[1, 1]) / 2) / 4
    assert float(got) == pytest.approx(want, rel=1e-10)
    # A function of the product couples through the mixed entry.
    product = neuron_covariance(pre, 4, lambda z: z[0] * z[1], lambda z: z[0] * z[1])
    assert float(product) == pytest.approx(V[0, 1, 0, 1], rel=1e-10)
    raised = neuron_covariance(
        pre, 4, lambda z: jnp.cos(z[0]), lambda z: jnp.cos(z[1]), smooth=False
    )
    assert float(raised) == pytest.approx(want, rel=1e-9)


@pytest.mark.slow
def test_covariance_is_the_difference_of_expectations(pre):
    """Cov[F, H] = E[F H] - E[F] E[H] with the four-derivative form for two neurons."""
    one = of_inputs(pre, [0])
    joint = expectation(one, 4, lambda z: jnp.cos(z[0, 0]) * jnp.sin(z[1, 0]) ** 2, neurons=2)
    F = expectation(one, 4, lambda z: jnp.cos(z[0]))
    H = expectation(one, 4, lambda z: jnp.sin(z[0]) ** 2)
    got = float(neuron_covariance(one, 4, lambda z: jnp.cos(z[0]), lambda z: jnp.sin(z[0]) ** 2))
    difference = float(joint.value - F.value * H.value)
    # The metric in place of the kernel, and a product of corrections: both of the next order.
    assert got == pytest.approx(difference, rel=5e-3)


@pytest.mark.slow
def test_cosines_of_sampled_networks():
    """n Cov[cos(z_a + z_b), cos z_a] of two neurons, at widths 48 and 96, extrapolated."""
    import jax

    values = []
    for width, key in ((48, 1), (96, 2)):
        net = fw.MLP((3, width, width, width, 1), "sin", C_b=0.1, C_W=1.7)
        batches = []
        with fw.double_precision():
            for k in jax.random.split(jax.random.key(key), 20):
                G = np.asarray(fw.ensemble.draw_by_chain(net, X, k, 3000).metric[:, -1])
                # The neurons are independent given the metric: E[cos] = e^(-variance/2) each.
                first, second = np.exp(-G.sum(axis=(1, 2)) / 2), np.exp(-G[:, 0, 0] / 2)
                batches.append(width * np.cov(first, second)[0, 1])
        values.append((np.mean(batches), np.std(batches, ddof=1) / np.sqrt(len(batches))))
    pre = fw.flow.preactivations(net, X)
    F, H = (lambda z: jnp.cos(z[0] + z[1])), (lambda z: jnp.cos(z[0]))
    theory = 96 * float(neuron_covariance(pre, 4, F, H))
    (narrow, e_1), (wide, e_2) = values
    score = (2 * wide - narrow - theory) / np.hypot(2 * e_2, e_1)
    assert abs(score) < 3.5
    assert abs(theory) > 10 * np.hypot(2 * e_2, e_1)


def test_bad_input_is_refused_in_words(pre):
    with pytest.raises(ValueError, match="scalar"):
        neuron_covariance(pre, 2, lambda z: z, lambda z: z[0])
    with pytest.raises(ValueError, match="order 1"):
        expectation(fw.flow.preactivations(pre.net, X, order=0), 2, bump)
