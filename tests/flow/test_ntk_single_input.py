"""One input, every layer: recursion against the book's forms, the NTK of many inputs, networks."""

import jax
import numpy as np
import pytest

import finitewidth as fw
from finitewidth.flow.gradient_health import gradient_health
from finitewidth.flow.ntk_shares import ntk_shares
from finitewidth.flow.ntk_single_input import single_input_ntk, single_input_ntk_flow
from finitewidth.precision import double_precision
from tests.flow.one_input_book import recursion
from tests.flow.sampled_gradients import sample, z_scores

NAMES = ("kernel", "mean", "vertex", "D", "F", "B", "A")
WIDTHS = (3, 30, 20, 40, 25, 1)
RATES = {
    "lambda_b": np.array([0.4, 0.9, 0.3, 1.2, 0.7]),
    "lambda_W": np.array([1.1, 0.5, 1.6, 0.8, 1.3]),
}
HYPER = {
    "C_b": np.array([0.1, 0.2, 0.05, 0.3, 0.1]),
    "C_W": np.array([1.3, 1.6, 0.9, 1.2, 1.4]),
}
X = np.array([0.8, -1.1, 0.6])


def sech2(z):
    return 1 / np.cosh(z) ** 2


@pytest.fixture(scope="module")
def net():
    return fw.MLP(WIDTHS, "tanh", **HYPER, **RATES)


@pytest.fixture(scope="module")
def tensors(net):
    return single_input_ntk(net, X)


@pytest.mark.parametrize("mixed_layers", [False, True])
def test_both_forms_of_the_book(tensors, mixed_layers):
    """PDLT (9.13), (9.16) and (9.20), (9.21) with layer-dependent everything."""
    widths = np.array(WIDTHS, dtype=float)
    book = recursion(
        np.tanh, sech2, (X**2).mean(), *HYPER.values(), *RATES.values(),
        widths[1:-1] / widths[:-2], mixed_layers,
    )  # fmt: skip
    for name in NAMES:
        np.testing.assert_allclose(getattr(tensors, name), book[name], rtol=1e-11, err_msg=name)


def test_nothing_fluctuates_in_layer_1(tensors):
    for name in ("vertex", "D", "F", "B", "A"):
        assert float(getattr(tensors, name)[0]) == 0


def test_frozen_ntk_is_the_diagonal_of_the_one_of_many_inputs(net, tensors):
    many = fw.flow.ntk(net, X[None], order=0)
    np.testing.assert_allclose(tensors.mean, many.mean[:, 0, 0], rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
def test_tensors_are_the_diagonals_of_those_of_many_inputs(activation):
    """The same network through pair expectations and four-index tensors."""
    net = fw.MLP(WIDTHS, activation, **HYPER, **RATES)
    tensors, many = single_input_ntk(net, X), fw.flow.ntk(net, X[None], order=1)
    for name in ("vertex", "A", "B", "D", "F"):
        dense = np.asarray(getattr(many, name).dense())[:, 0, 0, 0, 0]
        np.testing.assert_allclose(getattr(tensors, name), dense, rtol=1e-9, err_msg=name)


def test_shares_add_up_and_follow_the_formal_solution(net, tensors):
    shares = ntk_shares(net, X)
    assert float(shares.total) == pytest.approx(float(tensors.mean[-1]), rel=1e-13)
    # (9.28) for layer 3, by hand.
    product = float(shares.chi_perp[2] * shares.chi_perp[3])
    K = float(tensors.kernel[1])
    with double_precision():
        g = float(fw.gaussian.single_moment(lambda z: jax.numpy.tanh(z) ** 2, K))
    assert float(shares.bias[2]) == pytest.approx(RATES["lambda_b"][2] * product, rel=1e-12)
    assert float(shares.weight[2]) == pytest.approx(RATES["lambda_W"][2] * g * product, rel=1e-12)
    assert float(shares.weight[0]) == pytest.approx(
        RATES["lambda_W"][0] * (X**2).mean() * float(shares.propagation[0]), rel=1e-12
    )


def test_propagation_is_the_response_of_a_small_angle(net):
    """PDLT (9.30): the product of chi_perp, against two nearby inputs pushed through the layers."""
    angle = 1e-3
    kernel = float(fw.flow.preactivations(net, X[None], order=0).kernel[0, 0, 0])
    with double_precision():
        K = jax.numpy.array([[kernel, kernel * (1 - angle)], [kernel * (1 - angle), kernel]])
        for layer in fw.flow.layer_maps(net):
            K = layer(K)
        grown = float(K[0, 0] + K[1, 1] - 2 * K[0, 1]) / (2 * kernel * angle)
    assert grown == pytest.approx(float(ntk_shares(net, X).propagation[0]), rel=2e-3)


@pytest.mark.parametrize(
    ("C_W", "wanted", "factor", "verdict"),
    [
        (1.8, 7.90243, 0.9**24, "vanishing"),
        (2.0, 44.25, 1.0, "steady"),
        (2.2, 347.1129, 1.1**24, "steady"),
        (2.5, None, 1.25**24, "exploding"),
    ],
)
def test_relu_off_criticality(C_W, wanted, factor, verdict):
    net = fw.MLP((1, *[9] * 24, 1), "relu", C_W=C_W, lambda_b=0.6, lambda_W=1.3)
    health = gradient_health(net, [np.sqrt(0.9)])
    if wanted is not None:
        assert float(health.shares.total) == pytest.approx(wanted, rel=1e-6)
        assert float(single_input_ntk(net, [np.sqrt(0.9)]).mean[-1]) == pytest.approx(
            wanted, rel=1e-6
        )
    assert health.factor == pytest.approx(factor, rel=1e-12)
    assert health.verdict == (verdict if abs(np.log10(factor)) > 1 else "steady")
    assert health.depth_scale == pytest.approx(
        -1 / np.log(C_W / 2) if C_W != 2 else np.inf, rel=1e-12
    )


@pytest.mark.parametrize("first", [1e-12, 1e-30, 1e-200])
def test_tiny_kernels_do_no_harm(first):
    """At K = 1e-200, K^2 is no number any more: nothing may be divided by it."""
    tensors = single_input_ntk_flow("tanh", 5, first, C_b=0.0, C_W=0.5, lambda_b=0.3)
    assert all(np.isfinite(np.asarray(getattr(tensors, name))).all() for name in NAMES)
    Theta, B = 0.3, 0.0
    for _ in range(4):
        Theta, B = 0.3 + 0.5 * Theta, 0.25 * (B + Theta**2)
    assert float(tensors.mean[-1]) == pytest.approx(Theta, rel=1e-11)
    assert float(tensors.B[-1]) == pytest.approx(B, rel=1e-11)
    # D/(K Theta) and V/K^2 have limits at K -> 0.
    larger = single_input_ntk_flow("tanh", 5, 1e-9, C_b=0.0, C_W=0.5, lambda_b=0.3)
    assert float(tensors.ratios["F"][-1]) == pytest.approx(float(larger.ratios["F"][-1]), rel=1e-7)


def test_factors_beyond_all_numbers():
    health = gradient_health(fw.MLP((1, *[9] * 24, 1), "relu", C_W=1e-20), [1.0])
    assert health.factor == 0.0
    assert float(health.log_factor[0]) == pytest.approx(24 * np.log(0.5e-20), rel=1e-12)
    assert "vanishing, factor 10^-487" in health.summary()


@pytest.mark.slow
def test_derivative_in_a_hyperparameter():
    def output(C_W):
        return single_input_ntk_flow("tanh", 5, C_b=0.1, C_W=C_W, lambda_W=0.7).A[-1]

    with double_precision():
        slope, step = float(jax.grad(output)(1.3)), 1e-5
        finite = float(output(1.3 + step) - output(1.3 - step)) / (2 * step)
    assert slope == pytest.approx(finite, rel=1e-6)


def test_shares_of_real_tanh_networks():
    """Bias and weight shares of every layer, PDLT (9.28), and chain rule, PDLT (9.93).

    60 networks of depth 7: the remaining 1/n effects are below the standard error. The scores of
    one network's layers move together.
    """
    widths, rates = (40, *[250] * 6, 8), {"lambda_b": 0.7, "lambda_W": 1.2}
    drawn = sample(np.tanh, sech2, widths, 1.0, 0.9, nets=60, seed=3)
    shares = ntk_shares(fw.MLP.critical(widths, "tanh", **rates), np.full(40, np.sqrt(0.9)))
    # The last layer's bias share is exact, and so is its Jacobian: the identity.
    bias = z_scores(0.7 * drawn.jacobian_square[:, :-1], np.asarray(shares.bias[:-1]))
    weight = z_scores(1.2 * drawn.jacobian_square * drawn.signal, np.asarray(shares.weight))
    chain = z_scores(drawn.chain, np.asarray(shares.chi_perp))
    for scores in (bias, weight, chain):
        assert np.sqrt((scores**2).mean()) < 2.0, scores
        assert np.abs(scores).max() < 3.5, scores
    assert drawn.jacobian_square[:, -1] == pytest.approx(1.0)


def test_chain_rule_off_criticality():
    """PDLT (9.93) at C_W = 0.8 and a kernel of order 1, where chi_perp is far from 1."""
    drawn = sample(np.tanh, sech2, (50, 300, 300), 0.8, 1.5, nets=60, seed=4)
    net = fw.MLP((50, 300, 300), "tanh", C_W=0.8)
    chi_perp = ntk_shares(net, np.full(50, np.sqrt(1.5))).chi_perp
    assert float(chi_perp[0]) < 0.5
    assert np.abs(z_scores(drawn.chain, np.asarray(chi_perp))).max() < 3.0


def test_what_is_refused():
    with pytest.raises(ValueError, match="jumps"):
        single_input_ntk_flow("perceptron", 3, C_b=0.0, C_W=1.0)
    with pytest.raises(ValueError, match="one input"):
        single_input_ntk(fw.MLP((2, 3, 1), "tanh"), [[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(ValueError, match="orthogonal"):
        single_input_ntk(fw.MLP((2, 3, 1), "tanh", law="orthogonal"), [1.0, 2.0])
    with pytest.raises(ValueError, match="both or neither"):
        single_input_ntk_flow("tanh", 3, C_W=1.0)
    with pytest.raises(ValueError, match="lambda_b"):
        single_input_ntk_flow("tanh", 3, lambda_b=[1.0, 2.0])
    with pytest.raises(ValueError, match="mean_square"):
        single_input_ntk_flow("tanh", 3, mean_square=-1.0)


def test_labels(tensors):
    data = tensors.to_xarray()
    assert data["A"].sel(layer=3).item() == float(tensors.A[2])
    assert "layer 5" in repr(tensors)
