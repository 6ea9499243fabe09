"""The components of the NTK of two nearby inputs against the NTK of the two inputs themselves."""

import numpy as np
import pytest

import finitewidth as fw
from finitewidth.flow import gamma_components, nearby_inputs, nearby_ntk, ntk

MIDDLE = np.array([0.8, -0.3, 1.1])
ALONG = np.array([0.3, 0.5, -0.2])
#: At right angles to the middle: inputs of equal norms.
ACROSS = np.array([0.3, 0.8, 0.0])


def network(activation):
    return fw.MLP(
        (3, 9, 9, 9, 2),
        activation,
        C_b=[0.2, 0.1, 0.3, 0.05],
        C_W=[1.2, 1.5, 0.9, 1.1],
        lambda_b=[0.5, 1.3, 0.2, 0.7],
        lambda_W=[1.1, 0.4, 2.0, 0.9],
    )


@pytest.mark.parametrize("dx", [ALONG, ACROSS], ids=["unequal norms", "equal norms"])
@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_components_of_the_exact_ntk(activation, dx):
    """(10.61), (10.66), (10.70): the relative error is of second order in the distance."""
    net = network(activation)
    middle = ntk(net, MIDDLE[None])
    errors = []
    for h in (2e-2, 1e-2):
        pair = np.stack([MIDDLE + h * dx / 2, MIDDLE - h * dx / 2])
        near, exact = nearby_ntk(net, *pair), ntk(net, pair)
        worst = []
        for got, want, base in (
            (near.kernel_components, exact.kernel, middle.kernel),
            (near.ntk_components, exact.mean, middle.mean),
        ):
            zero = np.stack([np.asarray(base[:, 0, 0]), np.zeros(4), np.zeros(4)], axis=1)
            got, want = np.asarray(got) - zero, np.asarray(gamma_components(want)) - zero
            # What vanishes (k_0 and t_0 of layer 1, k_1 and t_1 of equal norms) to rounding.
            small = np.abs(want) < 1e-14
            assert (np.abs(got)[small] < 1e-14).all()
            worst.append(np.abs(got / np.where(small, 1.0, want) - 1)[~small].max())
        errors.append(max(worst))
    assert errors[0] < 5e-4
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert np.asarray(near.midpoint_ntk) == pytest.approx(np.asarray(middle.mean[:, 0, 0]))


def test_kernel_is_that_of_nearby_inputs():
    pair = MIDDLE + 0.05 * ALONG, MIDDLE - 0.05 * ALONG
    near, kernel = nearby_ntk(network("sin"), *pair), nearby_inputs(network("sin"), *pair)
    for name in ("midpoint", "dK_1", "ddK_2"):
        np.testing.assert_allclose(getattr(near, name), getattr(kernel, name), rtol=1e-12)
    assert near.to_xarray()["ddTheta_2"].dims == ("layer",)
    assert "Theta_00" in repr(near)


def test_kinks_are_refused():
    with pytest.raises(ValueError, match="wanted a smooth one, got relu"):
        nearby_ntk(network("relu"), MIDDLE, ALONG)
