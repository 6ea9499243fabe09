"""Repeated, opposite, collinear and zero inputs, and a thousand layers, at first order."""

import numpy as np
import pytest

import finitewidth as fw

A = np.array([0.9, -0.4, 0.7])
B = np.array([-0.2, 0.8, 0.5])
#: An input, its copy, its opposite, nothing, twice the input, and another.
X = np.array([A, A, -A, 0 * A, 2 * A, B])
COPY, OPPOSITE, ZERO, TWICE, OTHER = 1, 2, 3, 4, 5
TENSORS = ("vertex", "A", "D", "F", "B")


@pytest.fixture(scope="module", params=["relu", "tanh", "gelu"])
def statistics(request):
    """Without biases: opposite, collinear and zero inputs stay what they are in every layer."""
    net = fw.MLP((3, 20, 30, 15, 2), request.param, C_W=[1.0, 1.4, 1.8, 1.1], lambda_b=0.0)
    return fw.flow.ntk(net, X, order=1, points=16)


def tensors(statistics):
    return {name: np.asarray(getattr(statistics, name).dense()) for name in TENSORS}


def test_everything_is_finite(statistics):
    for field in ("kernel", "mean", "nlo_metric", "nlo_mean"):
        assert np.all(np.isfinite(getattr(statistics, field)))
    for tensor in tensors(statistics).values():
        assert np.all(np.isfinite(tensor))


def test_a_copy_is_the_input_itself(statistics):
    for field in ("kernel", "mean", "nlo_metric", "nlo_mean"):
        M = np.asarray(getattr(statistics, field))
        np.testing.assert_allclose(M[:, COPY], M[:, 0], rtol=1e-7, atol=1e-12)
    for tensor in tensors(statistics).values():
        for other in (COPY, OPPOSITE, TWICE, OTHER):
            of_input, of_copy = (
                tensor[np.ix_(range(4), *[[k, other]] * 4)].reshape(4, 16) for k in (0, COPY)
            )
            if other != COPY:
                np.testing.assert_allclose(of_copy, of_input, rtol=1e-6, atol=1e-9)


def test_a_zero_input_has_no_output(statistics):
    # Without biases and with sigma(0) = 0. Its NTK does not vanish where sigma'(0) does not.
    np.testing.assert_allclose(np.asarray(statistics.kernel)[:, ZERO], 0.0, atol=1e-15)
    V = np.asarray(statistics.vertex.dense())
    np.testing.assert_allclose(V[:, ZERO], 0.0, atol=1e-14)
    np.testing.assert_allclose(V[:, :, :, ZERO], 0.0, atol=1e-14)


def test_opposite_inputs(statistics):
    name, found = statistics.net.activation.name, tensors(statistics)
    sizes = {k: T[:, 0, 0, 0, 0] for k, T in found.items()}
    assert all(np.all(sizes[k][1:] > 0) for k in ("vertex", "A", "B"))  # variances
    if name == "tanh":  # odd: the same network up to the sign of the output
        for k, T in found.items():
            flipped = T[:, OPPOSITE, 0, 0, 0]
            np.testing.assert_allclose(flipped, -sizes[k], rtol=1e-7, err_msg=k)
    if name == "relu":  # no neuron of the first layer sees both
        assert np.abs(found["vertex"][1, 0, OPPOSITE, 0, OPPOSITE]).max() < 1e-14
        both = found["vertex"][1, 0, 0, OPPOSITE, OPPOSITE]
        K = float(statistics.kernel[0, 0, 0])
        np.testing.assert_allclose(both, -(1.4**2) * (K / 2) ** 2, rtol=1e-12)


def test_collinear_inputs_of_a_scale_invariant_activation(statistics):
    if statistics.net.activation.name != "relu":
        pytest.skip("sigma(2z) = 2 sigma(z) for relu alone")
    K, V = np.asarray(statistics.kernel), np.asarray(statistics.vertex.dense())
    np.testing.assert_allclose(K[:, TWICE, 0], 2 * K[:, 0, 0], rtol=1e-10)
    for copies in range(1, 5):
        index = (TWICE,) * copies + (0,) * (4 - copies)
        np.testing.assert_allclose(V[(slice(None), *index)], 2**copies * V[:, 0, 0, 0, 0])
    F, D = (np.asarray(T.dense()) for T in (statistics.F, statistics.D))
    np.testing.assert_allclose(D[:, TWICE, 0, 0, 0], 2 * D[:, 0, 0, 0, 0], rtol=1e-10)
    assert np.all(np.isfinite(F[:, TWICE, 0, 0, TWICE]))


def test_a_thousand_layers_against_closed_forms():
    depth = 1000
    net = fw.MLP((1, *(50,) * (depth - 1), 1), "relu", C_W=2.0, lambda_b=0.3, lambda_W=0.8)
    found = fw.flow.ntk(net, [[1.0], [-1.0], [0.0]], order=1, points=16)
    layers = np.array([1, 2, 10, 100, depth])
    want = fw.flow.scale_invariant_ntk("relu", layers, 1.0, lambda_b=0.3, lambda_W=0.8)
    for name, tensor in tensors(found).items():
        assert np.all(np.isfinite(tensor))
        one_input = tensor[layers - 1, 0, 0, 0, 0]
        np.testing.assert_allclose(one_input, getattr(want, name), rtol=1e-9, err_msg=name)
    np.testing.assert_allclose(np.asarray(found.mean)[layers - 1, 0, 0], want.mean, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["relu", "hard_tanh"])
def test_parallel_and_opposite_inputs_agree_with_networks(name):
    """Kinked activations at inputs where pair expectations have divergent derivatives."""
    net = fw.MLP((3, 60, 40, 40, 2), name, C_W=[1.5, 1.9, 1.8, 2.0], lambda_W=[1.2, 0.4, 0.9, 1.5])
    x = np.array([A, -A, 2 * A, B])
    measured = fw.ensemble.measure_extrapolated(
        net, x, ("A", "B", "D", "F", "vertex"), samples=4000, key=11
    )
    theory = fw.flow.ntk(net, x, order=1, points=2**14)
    print(f"\n{name}: {fw.compare(theory, measured).check(rms=(0.8, 1.25))!r}")
