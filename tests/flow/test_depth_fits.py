"""Exponents fitted to recursions against exact laws and against the predictions of each class."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

import finitewidth as fw
from finitewidth.flow.depth_fits import fit_power_law, fitted_exponents

SHIFTED = fw.activation(lambda z: jnp.tanh(z + 0.3) - math.tanh(0.3), name="shifted tanh")
LAYER = np.arange(1.0, 10_001.0)


def test_a_law_with_known_corrections():
    """Exponent, amplitude and sign of A l^-p (1 + c log(l)/l + ...), within the error stated."""
    law = -3.7 * LAYER**-1.25 * (1 + (2 * np.log(LAYER) - 5) / LAYER + 7 / LAYER**2)
    fit = fit_power_law(law)
    assert fit.exponent_error < 1e-5
    assert abs(fit.exponent - 1.25) < 3 * fit.exponent_error + 1e-12
    assert abs(fit.amplitude + 3.7) < 3 * fit.amplitude_error
    known = fit_power_law(law, exponent=1.25)
    assert known.amplitude_error < 0.1 * fit.amplitude_error
    assert abs(known.amplitude + 3.7) < 3 * known.amplitude_error + 1e-12
    assert known.exponent_error == 0.0


def test_without_logarithms_a_logarithm_is_missed():
    law = (1 + 5 * np.log(LAYER) / LAYER) / LAYER
    plain, full = (fit_power_law(law, logarithms=logs) for logs in (False, True))
    assert abs(full.exponent - 1) < 1e-3 * abs(plain.exponent - 1)


def agree(found, depth):
    """Compare every fitted exponent and amplitude with its prediction; return how many."""
    compared = 0
    for entry in found:
        if entry.fitted is None:
            assert entry.predicted.exponent is None
            continue
        fit, want = entry.fitted, entry.predicted
        assert abs(fit.exponent - want.exponent) < 3 * fit.exponent_error + 1e-8, entry
        # A prediction with error bars as wide as itself would be no test.
        assert fit.exponent_error < 1e-2
        if want.amplitude is not None:
            assert abs(fit.amplitude - want.amplitude) < 3 * fit.amplitude_error + 1e-9, entry
            assert fit.amplitude_error < 0.1 * abs(want.amplitude)
        compared += 1
    assert depth >= 1000
    return compared


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("relu", 5),
        ("tanh", 6),
        pytest.param("linear", 5, marks=pytest.mark.slow),
        pytest.param("leaky_relu(0.2)", 5, marks=pytest.mark.slow),
        pytest.param("sin", 6, marks=pytest.mark.slow),
        pytest.param("erf", 6, marks=pytest.mark.slow),
        pytest.param(SHIFTED, 6, marks=pytest.mark.slow),
        pytest.param("softsign", 6, marks=pytest.mark.slow),
        pytest.param("elu", 6, marks=pytest.mark.slow),
        pytest.param("selu", 6, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_predicted_exponents_and_amplitudes(name, count):
    found = fitted_exponents(name, 10_000)
    assert agree(found, 10_000) == count
    fits = {entry.predicted.name: entry.fitted for entry in found}
    # PDLT (5.129): the normalized vertex grows linearly in every class.
    assert fits["p_V"].exponent - 2 * fits["p_0"].exponent == pytest.approx(-1, abs=1e-4)


@pytest.mark.slow
def test_shifted_tanh_has_its_own_exponent():
    fits = {e.predicted.name: e.fitted for e in fitted_exponents(SHIFTED, 10_000)}
    assert fits["p_perp"].exponent == pytest.approx(0.931354, abs=1e-6)


@pytest.mark.slow
def test_logarithms_are_no_power_law():
    """The marginal class: fitted exponents go on to move with the depth."""
    moved = [
        {e.predicted.name: e.fitted.exponent for e in fitted_exponents("hard_tanh", depth)}["p_0"]
        for depth in (2_000, 10_000)
    ]
    assert abs(moved[0] - moved[1]) > 5e-3


def test_the_result_reads_as_text():
    assert "l^-(2" in repr(fit_power_law(5 / LAYER**2))
    assert "p_0: predicted 0" in repr(fitted_exponents("relu", 1000)[0])


@pytest.mark.parametrize(
    ("values", "message"),
    [(np.ones(10), "at least 1000"), (np.sin(LAYER), "one sign"), (0 * LAYER, "one sign")],
)
def test_bad_input_is_refused_in_words(values, message):
    with pytest.raises(ValueError, match=message):
        fit_power_law(values)
