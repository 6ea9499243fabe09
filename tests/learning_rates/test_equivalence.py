"""Learning rates: the book's prescriptions, balance along the flow, transfer, common schemes."""

import json

import numpy as np
import pytest

import finitewidth as fw
from finitewidth.learning_rates import (
    equivalence,
    ntk_parametrization,
    plain_gradient_descent,
    transfer,
)
from tests.flow.sampled_gradients import sample, z_scores


def hidden(width, depth, n_0=10, n_L=3):
    return (n_0, *[width] * (depth - 1), n_L)


# ---------------------------------------------------------------- the rules of the classes


def test_relu_by_the_book():
    """PDLT (9.94), with the 1/n_{l-1} that the book leaves out."""
    widths = (10, 20, 30, 40, 3)
    x = np.full((2, 10), [[0.5], [0.7]])
    rates = equivalence(
        fw.MLP.critical(widths, "relu"), x, eta=0.1, lambda_b=0.6, lambda_W=1.3
    )  # fmt: skip
    np.testing.assert_allclose(rates.bias_step, 0.1 * 0.6 / 4)
    np.testing.assert_allclose(rates.weight_step, 0.1 * 1.3 / 4 / np.array(widths[:-1]))
    mean_square = (0.5**2 + 0.7**2) / 2
    assert rates.output_ntk == pytest.approx(0.6 + 1.3 * mean_square, rel=1e-12)
    assert rates.predicted_ntk == pytest.approx(rates.output_ntk, rel=1e-12)
    np.testing.assert_allclose(rates.shares.bias, 0.6 / 4, rtol=1e-12)
    np.testing.assert_allclose(rates.shares.weight, 1.3 * mean_square / 4, rtol=1e-12)
    assert rates.universality_class == "scale-invariant"


def test_tanh_by_the_book():
    """PDLT (9.96)."""
    rates = equivalence(
        fw.MLP.critical(hidden(50, 12), "tanh"), eta=0.1, lambda_b=0.6, lambda_W=1.3
    )  # fmt: skip
    layer = np.arange(1, 13)
    np.testing.assert_allclose(rates.bias_step, 0.1 * 0.6 / layer)
    np.testing.assert_allclose(rates.lambda_W, 1.3)
    np.testing.assert_allclose(rates.weight_step, 0.1 * 1.3 / np.array([10, *[50] * 11]))
    assert rates.predicted_ntk == pytest.approx(0.6 + 1.3 / 2)
    assert rates.reference == "PDLT (9.96)"


def test_p_perp_by_the_book():
    """PDLT (9.95) in the two ways that it is printed, for tanh z + 0.4 tanh^2 z."""
    import jax.numpy as jnp

    sigma = fw.activation(lambda z: jnp.tanh(z) + 0.4 * jnp.tanh(z) ** 2)
    rates = equivalence(fw.MLP.critical(hidden(50, 9), sigma), lambda_b=0.6, lambda_W=1.3)
    p, layer, L = (-2 + 4 * 0.16) / (-2 + 3 * 0.16), np.arange(1, 10), 9
    np.testing.assert_allclose(rates.lambda_b, 0.6 * layer**-p * L ** (p - 1), rtol=1e-8)
    np.testing.assert_allclose(rates.lambda_W, 1.3 * (L / layer) ** (p - 1), rtol=1e-8)


@pytest.mark.parametrize(
    ("activation", "weights_over_biases", "kernel"), [("tanh", 1 / 2, 1 / 2), ("sin", 1.0, 1.0)]
)
def test_shares_level_off_deep_down(activation, weights_over_biases, kernel):
    """PDLT (9.70), (9.71): the share of layer L/2 over that of layer L tends to 1."""
    L = 3000
    rates = equivalence(fw.MLP.critical(hidden(1, L), activation))
    for share in (rates.shares.bias, rates.shares.weight):
        assert float(share[L // 2 - 1] / share[-1]) == pytest.approx(1, abs=2e-3)
    ratio = float(rates.shares.weight[-1] / rates.shares.bias[-1])
    assert ratio == pytest.approx(weights_over_biases, rel=4e-3)
    assert rates.output_ntk == pytest.approx(1 + kernel, rel=4e-3)
    assert rates.predicted_ntk == pytest.approx(1 + kernel)
    # Uniform rates: biases of the last layer learn of order L times more than those of the first.
    assert rates.uniform_imbalance["bias"] > L / 2
    assert rates.imbalance["bias"] < 2


def test_half_stable_on_its_fixed_point():
    gelu = fw.criticality.analyze("gelu")
    on_it = (gelu.K_star - gelu.C_b) / gelu.C_W
    x = np.full((1, 10), np.sqrt(on_it))
    rates = equivalence(fw.MLP.critical(hidden(50, 20), "gelu"), x, lambda_b=0.6, lambda_W=1.3)
    np.testing.assert_allclose(rates.shares.bias, 0.6 / 20, rtol=1e-9)
    np.testing.assert_allclose(rates.shares.weight, 1.3 * on_it / 20, rtol=1e-9)
    assert rates.output_ntk == pytest.approx(rates.predicted_ntk, rel=1e-9)
    # Off K* the advice tells a mean square of the inputs that leads there.
    (advice,) = equivalence(fw.MLP.critical(hidden(50, 20), "gelu")).advice
    assert float(advice.split("mean square ")[1].split()[0]) == pytest.approx(on_it, rel=1e-5)


# ---------------------------------------------------------------- off criticality


@pytest.mark.parametrize(
    "activation", ["relu", "tanh", "sigmoid", pytest.param("hard_tanh", marks=pytest.mark.slow)]
)
def test_layerwise_rates_level_every_share(activation):
    C_b = np.array([0.1, 0.3, 0.2, 0.0, 0.1, 0.2])
    net = fw.MLP(hidden(20, 6), activation, C_b=C_b, C_W=1.4)
    rates = equivalence(net, lambda_b=0.6, lambda_W=1.3, mode="layerwise")
    np.testing.assert_allclose(rates.shares.bias, 0.6 / 6, rtol=1e-12)
    np.testing.assert_allclose(rates.shares.weight, 1.3 / 6, rtol=1e-12)
    # The other road: the NTK recursion with the rates applied.
    applied = rates.apply(net)
    ntk = fw.flow.ntk(applied, np.ones((1, 10)), order=0)
    assert float(ntk.mean[-1, 0, 0]) == pytest.approx(1.9, rel=1e-9)
    assert rates.output_ntk == pytest.approx(1.9, rel=1e-12)


def test_both_modes_agree_where_the_book_is_exact():
    net = fw.MLP.critical(hidden(20, 8), "relu")
    asymptotic, layerwise = (equivalence(net, mode=mode) for mode in ("asymptotic", "layerwise"))
    np.testing.assert_allclose(asymptotic.lambda_b, layerwise.lambda_b, rtol=1e-12)
    np.testing.assert_allclose(asymptotic.lambda_W, layerwise.lambda_W, rtol=1e-12)


def test_off_critical_networks_are_refused_unless_allowed():
    net = fw.MLP(hidden(50, 25), "relu", C_W=1.8)
    with pytest.raises(ValueError, match=r"C_W = 1\.8 .* critical is 2: .* factor 0\.0718"):
        equivalence(net)
    rates = equivalence(net, off_critical="allow")
    np.testing.assert_allclose(rates.shares.bias, 0.9 ** np.arange(24, -1, -1) / 25, rtol=1e-12)
    assert "Off criticality" in rates.advice[0]
    with pytest.raises(ValueError, match=r"C_b = 0\.01 .* critical is 0"):
        equivalence(fw.MLP(hidden(50, 25), "tanh", C_b=0.01))
    with pytest.raises(ValueError, match=r"C_W = 1\.5 in layer 3"):
        equivalence(fw.MLP(hidden(50, 5), "tanh", C_W=[1.0, 1.0, 1.5, 1.0, 1.0]))
    # Tuning of order 1/n, and any first layer, are no reason to refuse.
    tuned = fw.MLP(hidden(500, 5), "tanh", C_W=[3.0, *[1 + 1 / 500] * 4], C_b=[0.5, 0, 0, 0, 0])
    assert equivalence(tuned).output_ntk > 0


@pytest.mark.parametrize(
    ("activation", "message"),
    [
        ("sigmoid", "wanted an activation that can be critical, got sigmoid"),
        ("perceptron", "jumps"),
        ("hard_tanh", "power laws"),
    ],
)
def test_activations_without_a_rule(activation, message):
    with pytest.raises(ValueError, match=message):
        equivalence(fw.MLP(hidden(20, 4), activation))


def test_bad_arguments():
    net = fw.MLP.critical(hidden(20, 4), "relu")
    for arguments, message in (
        ({"eta": 0.0}, "eta"),
        ({"lambda_b": -1.0}, "lambda_b"),
        ({"lambda_b": 0.0, "lambda_W": 0.0}, "not both 0"),
        ({"mode": "exact"}, "mode"),
        ({"x": np.zeros((1, 10))}, "not all zero"),
        ({"x": np.ones((1, 4))}, "10 features"),
    ):
        with pytest.raises(ValueError, match=message):
            equivalence(net, **arguments)
    with pytest.raises(ValueError, match="vanish altogether"):
        equivalence(fw.MLP(hidden(9, 25), "relu", C_W=1e-20), mode="layerwise")
    rates = equivalence(net)
    with pytest.raises(ValueError, match="wanted 4 layers of relu"):
        rates.apply(fw.MLP.critical(hidden(20, 5), "relu"))


# ---------------------------------------------------------------- results


def test_rates_are_what_a_network_takes():
    net = fw.MLP.critical(hidden(20, 4), "tanh")
    rates = equivalence(net, lambda_b=0.6, lambda_W=1.3)
    applied = rates.apply(fw.MLP.critical(hidden(99, 4), "tanh"))
    assert applied.widths == hidden(99, 4)
    np.testing.assert_array_equal(applied.lambda_b, rates.lambda_b)
    np.testing.assert_array_equal(applied.lambda_W, rates.lambda_W)
    np.testing.assert_array_equal(applied.C_W, net.C_W)
    data = json.loads(json.dumps(rates.to_dict()))
    assert data["weight_step"][1] == pytest.approx(1.3 / 20)
    assert data["output_ntk"] == pytest.approx(sum(data["bias_share"]) + sum(data["weight_share"]))
    assert "largest over smallest bias share" in str(rates)
    assert rates.to_xarray()["bias_step"].sel(layer=2).item() == pytest.approx(0.3)


# ---------------------------------------------------------------- transfer


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_transfer_keeps_rates_that_follow_the_principle(activation):
    small = fw.MLP.critical(hidden(20, 4), activation)
    large = fw.MLP.critical(hidden(200, 12), activation)
    tuned = equivalence(small, eta=0.3, lambda_b=0.6, lambda_W=1.3).apply(small)
    rates = transfer(tuned, large, eta=0.3)
    wanted = equivalence(large, eta=0.3, lambda_b=0.6, lambda_W=1.3)
    np.testing.assert_allclose(rates.lambda_b, wanted.lambda_b, rtol=1e-12)
    np.testing.assert_allclose(rates.weight_step, wanted.weight_step, rtol=1e-12)


def test_transfer_of_uniform_rates():
    """Uniform rates stay uniform, less 1/L: all of them for relu, those of biases for tanh."""
    for activation, weights in (("relu", 1 / 3), ("tanh", 1.0)):
        small = fw.MLP.critical(hidden(20, 4), activation, lambda_b=0.6, lambda_W=1.3)
        rates = transfer(small, fw.MLP.critical(hidden(200, 12), activation))
        np.testing.assert_allclose(rates.lambda_b, 0.6 / 3, rtol=1e-12)
        np.testing.assert_allclose(rates.lambda_W, 1.3 * weights, rtol=1e-12)


def test_layerwise_transfer_keeps_the_output_ntk():
    """A profile of shares that is linear in depth, off criticality, keeps its sum."""
    small, large = (fw.MLP(hidden(20, L), "tanh", C_b=0.2, C_W=1.5) for L in (4, 12))
    profile = equivalence(small, mode="layerwise")
    ramp = (np.arange(4) + 0.5) / 4
    tuned = fw.MLP(
        small.widths, "tanh", C_b=0.2, C_W=1.5,
        lambda_b=np.asarray(profile.lambda_b) * ramp, lambda_W=profile.lambda_W,
    )  # fmt: skip
    rates = transfer(tuned, large, mode="layerwise")
    np.testing.assert_allclose(rates.shares.weight, 1 / 12, rtol=1e-12)
    inner = (np.arange(12) + 0.5) / 12
    np.testing.assert_allclose(
        rates.shares.bias, np.clip(inner, ramp[0], ramp[-1]) / 12, rtol=1e-12
    )


def test_transfer_refuses_what_it_cannot_compare():
    relu, tanh = (fw.MLP.critical(hidden(20, 4), name) for name in ("relu", "tanh"))
    with pytest.raises(ValueError, match="activation of from_net"):
        transfer(relu, tanh)
    with pytest.raises(ValueError, match="to_net: wanted a critical network"):
        transfer(relu, fw.MLP(hidden(20, 30), "relu", C_W=1.8))


# ---------------------------------------------------------------- common schemes


def test_ntk_parametrization_adds_the_kernel():
    """With lambda = C every layer's own share is its kernel: Theta' = K' + chi_perp Theta."""
    net = fw.MLP(hidden(20, 5), "tanh", C_b=0.2, C_W=1.5)
    rates = ntk_parametrization(net)
    K = np.asarray(fw.flow.preactivations(net, np.ones((1, 10)), order=0).kernel[:, 0, 0])
    own = (rates.shares.bias + rates.shares.weight) / rates.shares.propagation
    np.testing.assert_allclose(own, K, rtol=1e-9)


def test_plain_gradient_descent_on_real_networks():
    """Critical relu: L + sum_l n_{l-1} |x|^2/n_0, of which the biases give L; exact in the mean."""
    widths, mean_square = (12, 30, 40, 25, 6), 0.9
    plain = plain_gradient_descent(
        fw.MLP.critical(widths, "relu"), np.full((1, 12), np.sqrt(mean_square)), eta=0.05
    )
    np.testing.assert_allclose(plain.weight_step, 0.05)
    np.testing.assert_allclose(plain.bias_step, 0.05)
    assert plain.output_ntk == pytest.approx(4 + mean_square * sum(widths[:-1]), rel=1e-12)
    assert float(plain.shares.bias.sum()) == pytest.approx(4, rel=1e-12)
    drawn = sample(
        lambda z: np.maximum(z, 0), lambda z: (z > 0) * np.float32(1),
        widths, 2.0, mean_square, nets=4000, seed=5,
    )  # fmt: skip
    fan_in = np.array(widths[:-1])
    bias = drawn.jacobian_square.sum(1)
    weight = (fan_in * drawn.jacobian_square * drawn.signal).sum(1)
    scores = z_scores(
        np.stack([bias, weight], axis=1), np.array([4, mean_square * sum(widths[:-1])])
    )
    assert np.abs(scores).max() < 3.0


def test_balanced_rates_balance_real_networks():
    """Critical tanh, 8 layers of width 250: measured shares at the layerwise rates are equal."""

    def slope(z):
        return 1 / np.cosh(z) ** 2

    widths = (40, *[250] * 7, 8)
    rates = equivalence(fw.MLP.critical(widths, "tanh"), mode="layerwise")
    drawn = sample(np.tanh, slope, widths, 1.0, 1.0, nets=50, seed=6)
    share, lambda_b, lambda_W = np.array(1 / 8), np.asarray(rates.lambda_b), rates.lambda_W
    bias = z_scores(lambda_b[:-1] * drawn.jacobian_square[:, :-1], share)
    weight = z_scores(np.asarray(lambda_W) * drawn.jacobian_square * drawn.signal, share)
    for scores in (bias, weight):
        assert np.sqrt((scores**2).mean()) < 2.0, scores
