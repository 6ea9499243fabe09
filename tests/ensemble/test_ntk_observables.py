"""Measured NTK tensors against exact numbers and against plain estimators on output neurons.

The second layer of a sine network is exact at every n_1, PDLT (8.32)-(8.39): A, B, D and F are
Gaussian moments of sines and cosines, which are finite sums of exponentials.
"""

from functools import cache
from itertools import product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from finitewidth.ensemble import Sampler, draw_with_ntk, empirical_ntk, measure
from finitewidth.ensemble.observables import build_observables
from finitewidth.network import MLP
from finitewidth.precision import double_precision

X = np.array([[1.2, 0.1, -0.4, 0.7], [0.5, 0.9, 0.3, -0.2], [-0.3, 0.4, 1.1, 0.6]])
TENSORS = ("A", "B", "D", "F")
C_B, C_W, LAMBDA_B, LAMBDA_W = 0.1, 1.4, 0.5, 0.8


def network(widths=(4, 9, 2), activation="sin", law="gaussian"):
    return MLP(
        widths,
        activation,
        C_b=C_B,
        C_W=C_W,
        lambda_b=[LAMBDA_B, 0.3, 0.7][: len(widths) - 1],
        lambda_W=[LAMBDA_W, 1.1, 0.4][: len(widths) - 1],
        law=law,
    )


def moment(kernel, sines, cosines=()):
    """E[prod sin z_a prod cos z_b] for z ~ N(0, kernel), by expanding in exponentials."""
    samples = (*sines, *cosines)
    block = kernel[np.ix_(samples, samples)]
    total = 0.0
    for signs in product((1, -1), repeat=len(samples)):
        s = np.array(signs)
        total += np.prod(s[: len(sines)]) * np.exp(-0.5 * s @ block @ s)
    return (total / (2j) ** len(sines) / 2 ** len(cosines)).real


def second_layer(a1, a2, a3, a4):
    """The exact tensors of layer 2, one entry each, in the order of the book's indices."""
    K, H = C_B + C_W * X @ X.T / 4, LAMBDA_B + LAMBDA_W * X @ X.T / 4
    lambda_W = 1.1

    def mean_omega(a, b):
        return lambda_W * moment(K, (a, b)) + C_W * H[a, b] * moment(K, (), (a, b))

    def sines_omega(sines, a, b):
        cosines = C_W * H[a, b] * moment(K, sines, (a, b))
        return lambda_W * moment(K, (*sines, a, b)) + cosines

    D = C_W * (sines_omega((a1, a2), a3, a4) - moment(K, (a1, a2)) * mean_omega(a3, a4))
    A = (
        lambda_W * sines_omega((a1, a2), a3, a4)
        + C_W * H[a1, a2] * lambda_W * moment(K, (a3, a4), (a1, a2))
        + C_W**2 * H[a1, a2] * H[a3, a4] * moment(K, (), (a1, a2, a3, a4))
        - mean_omega(a1, a2) * mean_omega(a3, a4)
    )
    F = C_W**2 * H[a3, a4] * moment(K, (a1, a2), (a3, a4))
    B = C_W**2 * H[a1, a2] * H[a3, a4] * moment(K, (), (a1, a2, a3, a4))
    return {"A": A, "B": B, "D": D, "F": F, "ntk": 0.3 + mean_omega(a1, a2)}


def stored(name, a1, a2, a3, a4):
    """Where the entry with the book's indices 1, 2, 3, 4 is kept."""
    return (a1, a3, a2, a4) if name in ("B", "F") else (a1, a2, a3, a4)


def distinct(name, samples=3):
    """One entry of every set of entries that are equal by symmetry."""
    seen = {}
    for a1, a2, a3, a4 in product(range(samples), repeat=4):
        equal = {
            "A": lambda a, b, c, d: frozenset([(*sorted((a, b)), 0), (*sorted((c, d)), 0)]),
            "D": lambda a, b, c, d: (*sorted((a, b)), *sorted((c, d))),
            "F": lambda a, b, c, d: min((a, b, c, d), (b, a, d, c)),
            "B": lambda a, b, c, d: min((a, b, c, d), (b, a, d, c), (c, d, a, b), (d, c, b, a)),
        }[name](a1, a2, a3, a4)
        seen.setdefault(equal, (a1, a2, a3, a4))
    return list(seen.values())


def check_scores(z):
    z = np.asarray(z)
    assert np.max(np.abs(z)) < 4.3
    assert 0.5 < np.sqrt(np.mean(z**2)) < 1.4


def test_second_layer_of_a_sine_network():
    m = measure(network(), X, (*TENSORS, "ntk"), 60_000, key=2)
    z = []
    for a, b in zip(*np.triu_indices(3), strict=True):
        exact = second_layer(a, b, a, b)["ntk"]
        z.append((m.ntk.value[1, a, b] - exact) / m.ntk.standard_error[1, a, b])
    for name in TENSORS:
        for entry in distinct(name):
            exact, here = second_layer(*entry)[name], (1, *stored(name, *entry))
            z.append((m[name].value[here] - exact) / m[name].standard_error[here])
        assert (m[name].value[0] == 0).all()
        assert (m[name].standard_error[0] == 0).all()
        assert (m[name].standard_error[1] > 0).all()
    check_scores(z)


@eqx.filter_jit
def outputs_and_ntks(net, x, key, networks):
    def one(network_key):
        params = net.init(network_key)
        return net.preactivations(params, x)[-1], empirical_ntk(net, params, x)

    return jax.vmap(one)(jax.random.split(key, networks))


def raw_estimates(net, x, key, networks):
    """The plain estimators on output neurons i != j, all ordered pairs; mean and its error."""
    with double_precision():
        z, H = map(np.asarray, outputs_and_ntks(net, x, jax.random.key(key), networks))
    n, outputs = net.widths[-2], net.widths[-1]
    own = np.einsum("Biiab->Biab", H)
    mean, own = own.mean(axis=1), own - own.mean(axis=(0, 1))
    zz = np.einsum("Bai,Bbi->Biab", z, z)
    pairs = outputs * (outputs - 1)
    off = 1.0 - np.eye(outputs)
    total, total_zz = own.sum(axis=1), zz.sum(axis=1)

    def others(left, left_sum, right, right_sum):
        whole = np.einsum("Bab,Bcd->Babcd", left_sum, right_sum)
        return (whole - np.einsum("Biab,Bicd->Babcd", left, right)) / pairs

    crossed = H * off[:, :, None, None]
    per_network = {
        "A": others(own, total, own, total),
        "D": others(zz, total_zz, own, total),
        "F": np.einsum("Bai,Bbj,Bijcd->Bacbd", z, z, crossed, optimize=True) / pairs,
        "B": np.einsum("Bijab,Bijcd->Bacbd", crossed, crossed, optimize=True) / pairs,
    }
    estimates = {
        name: (n * v.mean(axis=0), n * v.std(axis=0, ddof=1) / np.sqrt(networks))
        for name, v in per_network.items()
    }
    estimates["ntk"] = mean.mean(axis=0), mean.std(axis=0, ddof=1) / np.sqrt(networks)
    return estimates


@cache
def third_layer(law):
    return measure(network((4, 6, 8, 5), "tanh", law), X, (*TENSORS, "ntk"), 30_000, key=3)


@pytest.mark.parametrize("law", ["gaussian", pytest.param("uniform", marks=pytest.mark.slow)])
def test_third_layer_is_what_output_neurons_do(law):
    net = network((4, 6, 8, 5), "tanh", law)
    m = third_layer(law)
    raw = raw_estimates(net, X, 4, 40_000)
    z = []
    for name in TENSORS:
        value, error = raw[name]
        scores = (m[name].value[2] - value) / np.hypot(m[name].standard_error[2], error)
        z += [scores[stored(name, *entry)] for entry in distinct(name)]
        # The average over the last weights is worth having.
        assert np.median(m[name].standard_error[2] / error) < 0.8
    value, error = raw["ntk"]
    scores = (m.ntk.value[2] - value) / np.hypot(m.ntk.standard_error[2], error)
    z += list(scores[np.triu_indices(3)])
    check_scores(z)
    # Both see the order of the indices: other orders are other numbers.
    for name, order in (("F", (2, 1, 0, 3)), ("B", (2, 1, 0, 3)), ("D", (2, 3, 0, 1))):
        value, error = raw[name]
        turned = m[name].value[2].transpose(order)
        assert np.max(np.abs(turned - value) / error) > 6


def test_symmetries():
    m = measure(network((4, 6, 8, 5), "tanh"), X, TENSORS, 50, key=3, chunk_size=100)
    same = {
        "A": [(1, 0, 2, 3), (0, 1, 3, 2), (2, 3, 0, 1)],
        "D": [(1, 0, 2, 3), (0, 1, 3, 2)],
        "F": [(2, 3, 0, 1)],
        "B": [(2, 3, 0, 1), (1, 0, 3, 2)],
    }
    other = {"A": [(2, 1, 0, 3)], "D": [(2, 3, 0, 1)], "F": [(1, 0, 3, 2), (2, 1, 0, 3)]}
    other["B"] = [(2, 1, 0, 3)]
    for name in TENSORS:
        value = m[name].value[2]
        for order in same[name]:
            np.testing.assert_allclose(value, value.transpose(order), rtol=1e-9, atol=1e-13)
        for order in other[name]:
            assert not np.allclose(value, value.transpose(order), rtol=1e-3)


def test_metric_and_ntk_covariances_are_one_positive_matrix():
    """The blocks V, D, A are those of the covariance of one vector."""
    m = measure(network((4, 6, 8, 5), "tanh"), X, ("vertex", *TENSORS), 300, key=3, chunk_size=100)
    rows, columns = np.triu_indices(3)

    def block(name):
        return m[name].value[2][rows, columns][:, rows, columns]

    V, D, A = block("vertex"), block("D"), block("A")
    values = np.linalg.eigvalsh(np.block([[V, D], [D.T, A]]))
    assert values[0] > -1e-12 * values[-1]
    # Cov(G, M) counts: without the transpose it would not be one.
    assert np.linalg.eigvalsh(np.block([[V, 3 * D], [3 * D.T, A]]))[0] < -1e-3 * values[-1]


def test_estimates_are_those_of_the_networks_one_by_one():
    """n Cov and n E over the very networks that were drawn, in plain numpy."""
    net, key = network((4, 6, 8, 5), "tanh"), jax.random.key(1)
    names = (*TENSORS, "ntk")
    sampler = Sampler(net, jnp.asarray(X), build_observables(names), None, "weights", 100)
    draw = jax.device_get(sampler.draw(key, 0))
    m = measure(net, X, names, 100, key=key, chunk_size=100)
    G, M = (np.asarray(v) - np.mean(v, axis=0) for v in (draw.metric, draw.ntk))
    fan_in = np.array([4, 6, 8])[:, None, None, None, None]
    D = fan_in * np.einsum("Blab,Blcd->labcd", G, M) / 99
    A = fan_in * np.einsum("Blab,Blcd->labcd", M, M) / 99
    np.testing.assert_allclose(m.D.value, D, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(m.A.value, A, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(m.ntk.value, np.mean(draw.ntk, axis=0), rtol=1e-12)


def test_error_bars_are_the_spread_over_runs():
    net = network((4, 6, 8, 5), "tanh")
    runs = [measure(net, X, TENSORS, 100, seed, chunk_size=100) for seed in range(80)]
    for name in TENSORS:
        spread = np.var([r[name].value[2] for r in runs], axis=0)
        claimed = np.mean([r[name].standard_error[2] ** 2 for r in runs], axis=0)
        assert 0.75 < np.mean(claimed) / np.mean(spread) < 1.3


@pytest.mark.parametrize("name", TENSORS)
def test_orthogonal_weights_are_refused(name):
    net = network(law="orthogonal")
    message = f"law: {name} .* hold for gaussian, uniform, truncated_normal .* got 'orthogonal'"
    with pytest.raises(ValueError, match=message):
        measure(net, X, name, 10)


@pytest.mark.slow
def test_the_mean_ntk_of_orthogonal_weights():
    """Rows that are not independent do not matter for the mean over one row."""
    net = MLP((4, 5, 5, 5), "tanh", C_b=C_B, C_W=C_W, law="orthogonal")
    with double_precision():
        full = np.asarray(draw_with_ntk(net, X, jax.random.key(0), 3000).ntk)[:, 2]
    few = measure(net, X, "ntk", 3000, key=1, chunk_size=300).ntk
    error = np.hypot(full.std(axis=0) / np.sqrt(3000), few.standard_error[2])
    assert np.max(np.abs(few.value[2] - full.mean(axis=0)) / error) < 3.5


@pytest.mark.parametrize("name", TENSORS)
def test_the_chain_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} needs weights; wanted method 'weights'"):
        measure(network(), X, name, 10, method="chain")


def test_a_network_of_one_layer_does_not_fluctuate():
    m = measure(MLP((4, 2), "tanh", lambda_b=0.5), X, (*TENSORS, "ntk"), 10)
    np.testing.assert_allclose(m.ntk.value[0], 0.5 + X @ X.T / 4, rtol=1e-14)
    assert all((m[name].value == 0).all() for name in TENSORS)


def test_every_name_has_an_observable():
    assert [o.name for o in build_observables(TENSORS)] == list(TENSORS)
