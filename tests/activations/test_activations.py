"""Every activation against its definition in mpmath, its symmetries and its Taylor data."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finitewidth.activations import Custom, activation, activation_names, custom

NAMES = [name if name != "monomial" else "monomial(3)" for name in activation_names()]

DEFINITIONS = {
    "linear": lambda z: z,
    "relu": lambda z: z if z > 0 else mp.mpf(0),
    "leaky_relu": lambda z: z if z > 0 else mp.mpf(0.01) * z,
    "abs": lambda z: abs(z),
    "tanh": mp.tanh,
    "sin": mp.sin,
    "cos": mp.cos,
    "erf": mp.erf,
    "arctan": mp.atan,
    "asinh": mp.asinh,
    "softsign": lambda z: z / (1 + abs(z)),
    "hard_tanh": lambda z: min(max(z, mp.mpf(-1)), mp.mpf(1)),
    "sigmoid": lambda z: 1 / (1 + mp.exp(-z)),
    "softplus": lambda z: mp.log(1 + mp.exp(z)),
    "gelu": lambda z: z * mp.ncdf(z),
    "gelu_tanh": lambda z: (
        z / 2 * (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (z + mp.mpf(0.044715) * z**3)))
    ),
    "silu": lambda z: z / (1 + mp.exp(-z)),
    "swish": lambda z: z / (1 + mp.exp(-z)),
    "mish": lambda z: z * mp.tanh(mp.log(1 + mp.exp(z))),
    "hard_swish": lambda z: z * min(max(z + 3, mp.mpf(0)), mp.mpf(6)) / 6,
    "elu": lambda z: z if z > 0 else mp.expm1(z),
    "selu": lambda z: (
        mp.mpf(1.0507009873554805) * (z if z > 0 else mp.mpf(1.6732632423543772) * mp.expm1(z))
    ),
    "monomial(3)": lambda z: z**3,
    "quadratic": lambda z: z**2,
    "perceptron": lambda z: mp.mpf(1 if z >= 0 else 0),
}


@pytest.mark.parametrize("name", NAMES)
def test_values_and_two_derivatives_follow_the_definition(name):
    sigma = activation(name)
    points = [-7.3, -3.4, -1.7, -0.6, 0.4, 0.9, 2.2, 3.3, 8.1]
    for order in range(3):
        want = [float(mp.diff(DEFINITIONS[name], mp.mpf(z), order)) for z in points]
        got = sigma.derivative(jnp.array(points), order)
        np.testing.assert_allclose(got, want, rtol=2e-12, atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_symmetries_are_those_found_by_computation(name):
    sigma = activation(name)
    found = custom(lambda z: sigma(z), sigma.kinks)
    assert found.parity == sigma.parity
    assert found.homogeneity == sigma.homogeneity


@pytest.mark.parametrize("name", NAMES)
def test_the_name_leads_back_to_an_equal_activation(name):
    sigma = activation(name)
    assert activation(sigma.name) == sigma
    assert hash(activation(sigma.name)) == hash(sigma)
    assert activation(sigma) is sigma


def test_kinks_are_where_a_derivative_jumps():
    for name in NAMES:
        sigma = activation(name)
        step = 1e-6
        for kink in sigma.kinks:
            sides = [
                [float(sigma.derivative(kink + side * step, order)) for order in range(3)]
                for side in (-1, 1)
            ]
            assert np.abs(np.subtract(*sides)).max() > 1e-3, f"{name} has no kink at {kink}"


@pytest.mark.parametrize(
    ("name", "taylor"),
    [
        ("sigmoid", (1 / 2, 1 / 4, 0, -1 / 8, 0)),
        ("tanh", (0, 1, 0, -2, 0)),
        ("sin", (0, 1, 0, -1, 0)),
        ("softplus", (np.log(2), 1 / 2, 1 / 4, 0, -1 / 8)),
        ("silu", (0, 1 / 2, 1 / 2, 0, -1 / 2)),
        ("gelu", (0, 1 / 2, np.sqrt(2 / np.pi), 0, -2 * np.sqrt(2 / np.pi))),
    ],
)
def test_taylor_data_of_chapter_2(name, taylor):
    np.testing.assert_allclose(activation(name).taylor(4), taylor, atol=1e-14)


def test_no_taylor_data_across_a_kink():
    assert activation("relu").taylor(2) is None
    assert activation("hard_tanh").taylor(2) == (0.0, 1.0, 0.0)


@given(st.floats(-2, 2), st.floats(-30, 30), st.floats(0.01, 50))
def test_scale_invariance(slope, z, scale):
    sigma = activation(f"leaky_relu({slope!r})")
    np.testing.assert_allclose(sigma(scale * z), scale * sigma(z), rtol=1e-13, atol=1e-300)


def test_known_functions_keep_their_closed_forms():
    assert activation(jnp.tanh) == activation("tanh")
    assert activation(jax.nn.relu) == activation("relu")
    assert activation(jax.nn.gelu) == activation("gelu_tanh")
    own = activation(lambda z: z**3 / (1 + z**2), name="own")
    assert isinstance(own, Custom) and own.name == "own" and own.parity == "odd"


@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        ("reluu", ValueError, "wanted one of"),
        ("leaky_relu(a)", ValueError, "parameters"),
        ("tanh(2)", ValueError, "parameters"),
        ("monomial(0)", ValueError, "whole power"),
        ("monomial(2.5)", ValueError, "whole power"),
        (3, TypeError, "wanted a name"),
        (lambda z: z.sum(), ValueError, "elementwise"),
        (lambda z: jnp.log(z), ValueError, "finite"),
        (lambda z: z > 0, TypeError, "real values"),
        (lambda z: z.no_such_method(), TypeError, "failed"),
    ],
)
def test_bad_activations_are_refused_in_words(what, error, message):
    with pytest.raises(error, match=message):
        activation(what)


@pytest.mark.parametrize(
    ("name", "powers"),
    [
        ("tanh", (1, 2)),
        ("linear", (1, 2)),
        ("gelu", (1, 2)),
        ("relu", (0.5, 1)),
        ("leaky_relu(0.3)", (0.5, 1)),
        ("abs", (0.5, 1)),
        ("hard_tanh", (0.5, 1)),
        ("hard_swish", (0.5, 1)),
        ("selu", (0.5, 1)),
        ("elu(0.5)", (0.5, 1)),
        ("elu", (1, 1.5)),
        ("softsign", (1, 1.5)),
    ],
)
def test_powers_of_width_follow_the_first_derivative_that_jumps(name, powers):
    assert activation(name).width_powers == powers
