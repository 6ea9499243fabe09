"""Pair expectations of smooth activations against two-dimensional quadrature by another road.

The reference is a two-dimensional trapezoid rule in Cholesky coordinates,
z_1 = sqrt(K11) u, z_2 = sqrt(K22)(rho u + sqrt(1-rho^2) v): no Hermite function, no series, no
rotation, no integration by parts. It is itself held against mpmath.
"""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from finitewidth.activations import activation
from finitewidth.gaussian.pair import pair_expectation, pair_moments

RHO = np.array([-1.0, -0.999, -0.5, 0.0, 0.3, 0.9, 0.9999, 1.0])
VARIANCES = np.array([1e-6, 0.05, 1.0, 10.0])
# d/dK_i d/dK_j of <s1 s2> as <s^(m1) s^(m2)> times a factor, from Price's theorem.
DERIVATIVES = {
    (): (0, 0, 1.0),
    (0,): (2, 0, 0.5),
    (1,): (0, 2, 0.5),
    (2,): (1, 1, 1.0),
    (0, 0): (4, 0, 0.25),
    (0, 1): (2, 2, 0.25),
    (0, 2): (3, 1, 0.5),
    (1, 2): (1, 3, 0.5),
    (2, 2): (2, 2, 1.0),
}


def trapezoid(F, G, K11, K22, rho, step, reach=9.0):
    h = step / np.sqrt(max(K11, K22, 0.4))
    nodes = h * np.arange(-np.ceil(reach / h), np.ceil(reach / h) + 1)
    weight = h / np.sqrt(2 * np.pi) * np.exp(-(nodes**2) / 2)
    first = weight * np.asarray(F(np.sqrt(K11) * nodes))
    if abs(rho) == 1:
        return first @ np.asarray(G(rho * np.sqrt(K22) * nodes))
    z2 = np.sqrt(K22) * (rho * nodes[:, None] + np.sqrt((1 - rho) * (1 + rho)) * nodes)
    return first @ (np.asarray(G(z2)) @ weight)


def points(variances=VARIANCES, rho=RHO):
    K11, K22, r = (x.ravel() for x in np.meshgrid(variances, variances, rho, indexing="ij"))
    return K11, K22, r, r * np.sqrt(K11) * np.sqrt(K22)


def derivative(f, along):
    for axis in along:
        f = _partial(f, axis)
    return jax.jit(f)


def _partial(f, axis):
    def partial(*K):
        def along(k):
            return f(*K[:axis], k, *K[axis + 1 :])

        return jax.jvp(along, (K[axis],), (jnp.ones_like(K[axis]),))[1]

    return partial


def deviation(got, want, F, G, K11, K22):
    """The largest error relative to (<F^2><G^2>)^(1/2), and to the value where it is not small."""
    norm = np.sqrt(
        [
            trapezoid(F, F, a, a, 1.0, 0.1) * trapezoid(G, G, b, b, 1.0, 0.1)
            for a, b in zip(K11, K22, strict=True)
        ]
    )
    error = np.abs(np.asarray(got) - want)
    large = np.abs(want) > 1e-2 * norm
    return (error / norm).max(), (error[large] / np.abs(want[large])).max()


def test_reference_agrees_with_mpmath():
    with mp.workdps(30):
        h, nodes = mp.mpf("0.08"), [mp.mpf("0.08") * i for i in range(-125, 126)]
        weights = [h * mp.npdf(u) for u in nodes]
        rho, other = mp.mpf("0.3"), mp.sqrt(1 - mp.mpf("0.3") ** 2)
        inner = [
            sum(w * mp.tanh(rho * u + other * v) for v, w in zip(nodes, weights, strict=True))
            for u in nodes[125:]
        ]
        half = sum(
            w * mp.tanh(u) * s
            for u, w, s in zip(nodes[126:], weights[126:], inner[1:], strict=True)
        )
        want = float(2 * half)
    assert trapezoid(np.tanh, np.tanh, 1.0, 1.0, 0.3, 0.1) == pytest.approx(want, rel=1e-14)
    assert float(pair_moments("tanh").value(1.0, 1.0, 0.3)) == pytest.approx(want, rel=1e-13)


CASES = [  # all of them run with `-m slow`
    (name, along)
    if (name, along) in [("tanh", ()), ("tanh", (0, 0)), ("silu", (0,)), ("silu", (2,))]
    else pytest.param(name, along, marks=pytest.mark.slow)
    for name in ("tanh", "silu")
    for along in DERIVATIVES
]


@pytest.mark.parametrize(("name", "along"), CASES, ids=str)
def test_value_and_derivatives(name, along):
    sigma = activation(name)
    m1, m2, factor = DERIVATIVES[along]
    F, G = (lambda z, m=m: sigma.derivative(z, m) for m in (m1, m2))
    F, G = jax.jit(F), jax.jit(G)
    K11, K22, rho, K12 = points(np.array([1e-6, 1.0, 10.0]))
    want = factor * np.array([trapezoid(F, G, *p, 0.2) for p in zip(K11, K22, rho, strict=True)])
    got = derivative(pair_moments(name).value, along)(*map(jnp.asarray, (K11, K22, K12)))
    to_norm, relative = deviation(got / factor, want / factor, F, G, K11, K22)
    assert to_norm < 1e-12
    assert relative < 1e-10


OTHERS = [
    "arctan",
    "mish",
    *(
        pytest.param(n, marks=pytest.mark.slow)
        for n in ("asinh", "sigmoid", "softplus", "gelu_tanh")
    ),
]


@pytest.mark.parametrize("name", OTHERS)
def test_value_and_slope_of_other_activations(name):
    sigma = activation(name)
    K11, K22, rho, K12 = points()
    for m, got in enumerate(pair_moments(name).value_and_slope(K11, K22, K12)):
        F = jax.jit(lambda z, m=m: sigma.derivative(z, m))
        want = np.array([trapezoid(F, F, *p, 0.15) for p in zip(K11, K22, rho, strict=True)])
        to_norm, relative = deviation(got, want, F, F, K11, K22)
        assert to_norm < 1e-12
        assert relative < 1e-10


@pytest.mark.parametrize("name", ["tanh", pytest.param("softplus", marks=pytest.mark.slow)])
def test_large_variances(name):
    sigma = activation(name)
    K11, K22, rho, K12 = points(np.array([30.0, 1e3]), np.array([-1.0, -0.999, 0.3, 0.9999, 1.0]))
    for along in ((), (0,), (2,)):
        m1, m2, factor = DERIVATIVES[along]
        F, G = (jax.jit(lambda z, m=m: sigma.derivative(z, m)) for m in (m1, m2))
        got = derivative(pair_moments(name).value, along)(*map(jnp.asarray, (K11, K22, K12)))
        want = [trapezoid(F, G, *p, 0.25, 8.5) for p in zip(K11, K22, rho, strict=True)]
        to_norm, relative = deviation(got / factor, np.array(want), F, G, K11, K22)
        assert to_norm < 1e-9
        assert relative < 1e-7


def test_report_bounds_the_error_and_order_grows_with_the_variance():
    moments = pair_moments("arctan")
    reports = [moments.report(K, K, 0.99 * K) for K in (0.01, 1.0, 10.0)]
    assert [r.method for r in reports] == ["Mehler series"] * 3
    assert reports[0].orders < reports[1].orders < reports[2].orders
    assert all(r.error < 1e-12 and r.direct == 0 for r in reports)
    beyond = moments.report(1e3, 1e3, 999.9)
    assert beyond.direct == 1


def test_two_different_functions():
    got = pair_expectation(jnp.sin, jnp.tanh, 1.2, 0.7, 0.5)
    want = trapezoid(np.sin, np.tanh, 1.2, 0.7, 0.5 / np.sqrt(1.2 * 0.7), 0.15)
    assert float(got) == pytest.approx(want, rel=1e-13)


def test_zero_input():
    silu, K = activation("silu"), jnp.asarray([0.0, 0.3])
    moments = pair_moments("silu")
    np.testing.assert_array_equal(moments.value(0.0, K, 0.0), 0.0)
    slope = np.asarray(moments.slope(0.0, K, 0.0))
    mean = trapezoid(silu.derivative, np.ones_like, 0.3, 1.0, 0.0, 0.1)
    np.testing.assert_allclose(slope, [0.25, 0.5 * mean], rtol=1e-13)
    gradient = jax.grad(moments.value, argnums=(0, 1, 2))(jnp.zeros(()), K[1], jnp.zeros(()))
    # f_1 = <s''(0) s(z)>/2, f_2 = <s(0) s''>/2 = 0, f_3 = s'(0) <s'>
    first = 0.25 * trapezoid(silu, np.ones_like, 0.3, 1.0, 0.0, 0.1)
    np.testing.assert_allclose(gradient, [first, 0.0, 0.5 * mean], rtol=1e-13, atol=1e-16)


@pytest.mark.slow
def test_all_transformations_agree():
    moments = pair_moments("silu")
    K = jnp.asarray([[1.0, 0.4, -0.2], [0.4, 0.8, 0.1], [-0.2, 0.1, 2.0]])
    d = jnp.diag(K)
    matrix = moments.value(d[:, None], d[None, :], K)
    np.testing.assert_allclose(matrix, matrix.T, rtol=1e-14)
    one_by_one = [[float(moments.value(d[i], d[j], K[i, j])) for j in range(3)] for i in range(3)]
    np.testing.assert_allclose(matrix, one_by_one, rtol=1e-13)
    batched = jax.vmap(lambda a, row: moments.value(a, d, row))(d, K)
    np.testing.assert_allclose(matrix, batched, rtol=1e-13)

    def total(matrix):
        d = jnp.diag(matrix)
        return jnp.sum(
            jnp.cos(jnp.arange(9.0)).reshape(3, 3) * moments.value(d[:, None], d[None, :], matrix)
        )

    reverse = jax.grad(total)(K)
    forward = jax.jacfwd(total)(K)
    np.testing.assert_allclose(reverse, forward, rtol=1e-12, atol=1e-14)
    step = 1e-5 * jnp.asarray([[1.0, 0.5, 0.2], [0.5, -1.0, 0.3], [0.2, 0.3, 0.7]])
    difference = (total(K + step) - total(K - step)) / 2
    np.testing.assert_allclose(jnp.sum(reverse * step), difference, rtol=1e-8)
