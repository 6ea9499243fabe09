"""The frozen NTK against closed forms, a quadrature of its own and asymptotics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import finitewidth as fw
from tests.flow.book_form import gaussian_nodes

X = np.array([[1.0, -0.6, 0.3, 0.8], [0.2, 0.9, -1.1, 0.5], [-0.7, 0.4, 0.6, 1.2]])


@pytest.mark.parametrize("name", ["tanh", "silu", "gelu", "erf"])
def test_the_recursion_by_quadrature_with_rates_that_differ_by_layer(name):
    sigma = fw.activation(name)
    net = fw.MLP(
        (4, 9, 7, 5, 2),
        name,
        C_b=[0.1, 0.0, 0.3, 0.2],
        C_W=[1.0, 1.4, 0.8, 1.1],
        lambda_b=[0.5, 0.2, 0.9, 0.4],
        lambda_W=[1.3, 0.7, 0.3, 2.0],
    )
    gram = X @ X.T / 4
    K, Theta = 0.1 + gram, 0.5 + 1.3 * gram
    ntk = fw.flow.ntk(net, X)
    np.testing.assert_allclose(ntk.mean[0], Theta, rtol=1e-13)
    for layer in range(1, 4):
        z, w = gaussian_nodes(K)
        s, ds = np.asarray(sigma(z)), np.asarray(sigma.derivative(z))
        gg = np.einsum("m,ma,mb->ab", w, s, s)
        slope = np.einsum("m,ma,mb->ab", w, ds, ds)
        K = float(net.C_b[layer]) + float(net.C_W[layer]) * gg
        Theta = (
            float(net.lambda_b[layer])
            + float(net.lambda_W[layer]) * gg
            + float(net.C_W[layer]) * slope * Theta
        )
        np.testing.assert_allclose(ntk.kernel[layer], K, rtol=1e-9)
        np.testing.assert_allclose(ntk.mean[layer], Theta, rtol=1e-9)


@pytest.mark.parametrize("name", ["relu", "linear", "leaky_relu(0.3)"])
def test_scale_invariant_ntk_grows_linearly(name):
    net = fw.MLP.critical((4, 6, 5, 7, 3, 2), name, lambda_b=0.6, lambda_W=1.2)
    Theta = np.einsum("laa->la", fw.flow.ntk(net, X).mean)
    want = 0.6 + 1.2 * (X**2).sum(1) / 4
    np.testing.assert_allclose(Theta, np.arange(1, 6)[:, None] * want, rtol=1e-12)


@pytest.mark.parametrize(("C_W", "want"), [(1.8, 7.90243), (2.0, 44.25), (2.2, 347.1129)])
def test_off_critical_relu_of_the_theory_file(C_W, want):
    net = fw.MLP((1,) + (4,) * 24 + (1,), "relu", C_W=C_W, lambda_b=0.6, lambda_W=1.3)
    Theta = float(fw.flow.ntk(net, [[np.sqrt(0.9)]]).mean[-1, 0, 0])
    np.testing.assert_allclose(Theta, want, rtol=2e-7)


@pytest.mark.parametrize(("name", "a_1"), [("tanh", -2.0), ("sin", -1.0)])
def test_uniform_rates_in_the_K0_class(name, a_1):
    # Bias share lambda_b l/(p_perp + 1) with p_perp = 1, weight share lambda_W/(-a_1 p_perp).
    layers = 4000
    shape = (1,) + (2,) * (layers - 1) + (1,)
    bias = fw.flow.ntk(fw.MLP(shape, name, lambda_b=1.0, lambda_W=0.0), [[1.0]]).mean[-1, 0, 0]
    weight = fw.flow.ntk(fw.MLP(shape, name, lambda_b=0.0, lambda_W=1.0), [[1.0]]).mean[-1, 0, 0]
    np.testing.assert_allclose(bias / layers, 1 / 2, rtol=5e-3)
    np.testing.assert_allclose(weight, 1 / -a_1, rtol=1e-2)


def test_ntk_parametrization_adds_the_kernel():
    # With lambda_W = C_W and lambda_b = C_b the additive term of (9.5) is the next kernel.
    net = fw.MLP((4, 6, 5, 2), "tanh", C_b=0.2, C_W=1.3, lambda_b=0.2, lambda_W=1.3)
    ntk = fw.flow.ntk(net, X)
    slope = fw.flow.derivative_moment(fw.gaussian.pair_moments(net.activation), ntk.kernel[1])
    np.testing.assert_allclose(ntk.mean[2], ntk.kernel[2] + 1.3 * slope * ntk.mean[1], rtol=1e-12)


def test_depth_1000_and_derivatives():
    def last(C_W):
        net = fw.MLP((4,) + (3,) * 999 + (1,), "tanh", C_W=C_W, C_b=0.01)
        return fw.flow.ntk(net, X).mean[-1].sum()

    value, slope = jax.value_and_grad(last)(1.2)
    assert np.isfinite(value) and np.isfinite(slope)
    numeric = (last(1.2 + 1e-5) - last(1.2 - 1e-5)) / 2e-5
    np.testing.assert_allclose(slope, numeric, rtol=1e-6)


def test_degenerate_inputs():
    x = np.array([X[0], X[0], -X[0], np.zeros(4)])
    for name in ("elu", "swish"):
        mean = fw.flow.ntk(fw.MLP((4, 6, 5, 2), name), x).mean
        assert bool(jnp.isfinite(mean).all())
        np.testing.assert_allclose(mean[:, 0, 1], mean[:, 0, 0], rtol=1e-7)


def test_labelled_results_and_bad_input():
    net = fw.MLP((4, 6, 5, 2), "tanh")
    ntk = fw.flow.ntk(net, X)
    assert ntk.to_xarray().ntk_mean.sel(layer=3).shape == (3, 3)
    assert "layer 3" in repr(ntk)
    with pytest.raises(ValueError, match="order"):
        fw.flow.ntk(net, X, order=3)
    with pytest.raises(ValueError, match="features"):
        fw.flow.ntk(net, X[:, :2])
