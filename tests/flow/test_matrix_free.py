"""Matrix-free tensors against the dense ones, closed forms and exact algebra."""

import dataclasses

import jax
import numpy as np
import pytest

import finitewidth as fw
from finitewidth.flow.matrix_free import matrix_free
from finitewidth.tensors import FactorizedTensor

TENSORS = "VDAFB"
X = np.random.default_rng(1).normal(size=(5, 4))
CROSSINGS = ("bd", "bc", "ad", "ac")


def network(name):
    """Unequal widths, hyperparameters and rates that differ by layer."""
    return fw.MLP(
        (4, 20, 30, 12, 2),
        name,
        C_b=[0.1, 0.0, 0.3, 0.2],
        C_W=[1.0, 1.4, 0.8, 1.1],
        lambda_b=[0.5, 0.2, 0.9, 0.4],
        lambda_W=[1.3, 0.7, 0.3, 2.0],
    )


def dense_tensor(ntk, name):
    return ntk.vertex if name == "V" else getattr(ntk, name)


def with_key(tensor, key):
    return dataclasses.replace(tensor, key=jax.random.key(key))


def rms(z):
    return float(np.sqrt(np.mean(np.square(z))))


@pytest.fixture(scope="module", autouse=True)
def double():
    with fw.double_precision():
        yield


@pytest.fixture(scope="module")
def sin():
    """The dense tensors of sin are closed forms."""
    return fw.flow.ntk(network("sin"), X, order=1), matrix_free(
        network("sin"), X, neurons=2**12, matrices=2**12
    )


@pytest.fixture(scope="module")
def weights():
    return np.random.default_rng(2).normal(size=(2, 5, 5))


def test_kernels_are_those_of_the_dense_flow(sin):
    dense, many = sin
    np.testing.assert_allclose(many.kernel, dense.kernel, rtol=1e-13)
    np.testing.assert_allclose(many.ntk_mean, dense.mean, rtol=1e-13)
    assert many.V.shape == (4, 5, 5, 5, 5) and many.V[-1].samples == 5
    assert many.fan_in.tolist() == [4, 20, 30, 12]


def test_contractions_within_their_error_bars(sin):
    dense, many = sin
    rng = np.random.default_rng(0)
    scores = {name: [] for name in TENSORS}
    for key in range(24):
        for number, name in enumerate(TENSORS):
            left, right = rng.normal(size=(2, 5, 5))
            layer = 1 + key % 3
            tensor = with_key(getattr(many, name)[layer], 5 * key + number)
            value, error = tensor.contract_with_error(left, right)
            want = dense_tensor(dense, name)[layer].contract(left, right)
            scores[name].append(float((value - want) / error))
    for name, z in scores.items():
        assert 0.65 < rms(z) < 1.4, (name, z)
        assert abs(np.mean(z)) < 3 / np.sqrt(len(z)), (name, z)
    assert 0.85 < rms(np.concatenate(list(scores.values()))) < 1.15


@pytest.mark.parametrize("name", TENSORS)
def test_random_matrices_within_their_error_bars(sin, weights, name):
    dense, many = sin
    want, tensor = dense_tensor(dense, name)[-1], getattr(many, name)[-1]
    z = []
    for number, axes in enumerate(CROSSINGS):
        value, error = with_key(tensor, 10 + number).crossed_with_error(weights[0], axes)
        z += np.ravel((value - want.crossed(weights[0], axes)) / error).tolist()
    value, error = tensor.entries_with_error()
    z += np.ravel((value - want.entries()) / error).tolist()
    # The entries of one set of matrices are correlated: fewer degrees of freedom than numbers.
    assert 0.6 < rms(z) < 1.5
    assert np.max(np.abs(z)) < 5


def test_a_block_meets_training_and_test_samples(sin):
    dense, many = sin
    test, train = [4], [0, 2]
    for name in "VDF":
        block = getattr(many, name)[-1].block(test, train, train, train)
        want = dense_tensor(dense, name)[-1].block(test, train, train, train)
        assert isinstance(block, FactorizedTensor) and block.shape == want.shape == (1, 2, 2, 2)
        products = np.asarray(
            block.factors[:, :, :, None, None] * block.right_factors[:, None, None, :, :]
        )
        error = products.std(axis=0) / np.sqrt(len(products))
        z = (np.asarray(block.dense()) - np.asarray(want.dense())) / error
        assert np.abs(z).max() < 4


@pytest.mark.parametrize("name", TENSORS)
def test_applying_is_contracting_with_the_same_neurons(sin, weights, name):
    _, many = sin
    tensor = getattr(many, name)
    left, right = weights
    value = tensor.contract(left, right)
    assert value.shape == (4,) and value[0] == 0
    applied = tensor.apply(right)
    np.testing.assert_allclose((left * applied).sum(axis=(1, 2)), value, rtol=1e-9, atol=1e-12)
    transposed = tensor.T.apply(left)
    np.testing.assert_allclose((transposed * right).sum(axis=(1, 2)), value, rtol=1e-9, atol=1e-12)
    if name in "VDA":
        np.testing.assert_allclose(applied, np.swapaxes(applied, 1, 2), rtol=1e-9, atol=1e-12)
    if name != "D":
        assert float(tensor[-1].contract(left, left)) > 0
        np.testing.assert_allclose(tensor.contract(right, left), value, rtol=1e-9, atol=1e-12)


def test_the_metric_alone_is_the_same_vertex(sin, weights):
    _, many = sin
    alone = matrix_free(many.net, X, ntk=False, neurons=2**12)
    left, right = weights
    np.testing.assert_allclose(
        alone.V.contract(left, right), many.V.contract(left, right), rtol=1e-10
    )
    assert alone.ntk_mean is None
    with pytest.raises(ValueError, match="A: wanted statistics of the NTK"):
        _ = alone.A


def test_restriction_is_exact_and_keeps_the_order(sin, weights):
    dense, many = sin
    kept = [3, 0, 4]
    part = many.D[-1].restrict(kept)
    assert part.samples == 3
    np.testing.assert_allclose(
        part.flow.kernel, np.asarray(many.kernel)[:, kept][:, :, kept], rtol=1e-14
    )
    left, right = weights[:, :3, :3]
    value, error = part.contract_with_error(left, right)
    want = dense.D[-1].restrict(kept).contract(left, right)
    assert abs(value - want) < 4 * error


@pytest.mark.parametrize("name", [pytest.param("tanh", marks=pytest.mark.slow), "relu"])
def test_other_activations_within_their_error_bars(name):
    """The quasi-random points of the dense tensors are good to a fraction of these errors."""
    net, x = network(name), X[:4]
    dense = fw.flow.ntk(net, x, order=1, points=2**16)
    many = matrix_free(net, x, neurons=2**10)
    rng, z = np.random.default_rng(3), []
    for key in range(12):
        for number, tensor_name in enumerate("VDAFB"):
            left, right = rng.normal(size=(2, 4, 4))
            tensor = with_key(getattr(many, tensor_name)[-1], 5 * key + number)
            value, error = tensor.contract_with_error(left, right)
            want = dense_tensor(dense, tensor_name)[-1].contract(left, right)
            z.append(float((value - want) / error))
    assert 0.8 < rms(z) < 1.25, z
    assert abs(np.mean(z)) < 3 / np.sqrt(len(z))


def test_a_linear_network_needs_no_neurons():
    """V = n_{l-1} sum_k 1/n_k (K_ac K_bd + K_ad K_bc), PDLT (3.40): all of it in closed form."""
    rng = np.random.default_rng(0)
    x, left = rng.normal(size=(300, 4)), rng.normal(size=(300, 300))
    net = fw.MLP((4, 20, 30, 12, 2), "linear")
    many = matrix_free(net, x, neurons=2)
    K = np.asarray(many.kernel[0])
    value, error = many.V.contract_with_error(left, np.eye(300))
    shares = np.array([0, 1, 30 / 20 + 1, 12 / 20 + 12 / 30 + 1])
    want = 2 * shares * np.trace((left + left.T) / 2 @ K @ K)
    np.testing.assert_allclose(value, want, rtol=1e-9)
    assert float(error.max()) < 1e-9 * abs(want).max()


@pytest.fixture(scope="module")
def repeated():
    """A data set with a repeated, an opposite and a zero input, and the one without the repeat."""
    x = np.concatenate([X[:2], X[:1], -X[1:2], np.zeros((1, 4))])
    net = fw.MLP((4, 20, 30, 12, 2), "tanh", C_W=1.2)
    return matrix_free(net, x), matrix_free(net, x[[0, 1, 3, 4]])


def test_repeated_opposite_and_zero_inputs(repeated, weights):
    whole, fewer = repeated
    # Sample 2 is sample 0: its weights may be added to those of sample 0.
    merge = np.zeros((4, 5))
    merge[[0, 1, 0, 2, 3], range(5)] = 1.0
    for name in "VAFB":
        value, error = getattr(whole, name)[-1].contract_with_error(*weights)
        merged = [merge @ w @ merge.T for w in weights]
        want, other = with_key(getattr(fewer, name)[-1], 7).contract_with_error(*merged)
        assert np.isfinite(value) and error > 0
        assert abs(value - want) < 4 * np.hypot(error, other)


def test_accuracy_on_request(sin):
    _, many = sin
    ones = np.ones((5, 5))
    tensor = many.A[-1]
    value, error = tensor.contract_with_error(ones, ones)
    wanted = 0.3 * float(error / value)
    _, better = tensor.contract_with_error(ones, ones, accuracy=wanted)
    assert float(better) <= wanted * float(value)
    _, limited = tensor.contract_with_error(ones, ones, accuracy=1e-12, most_neurons=2**13)
    assert 0.5 < float(limited / error) * np.sqrt(2) < 1.5


def test_the_key_decides_the_numbers(sin, weights):
    _, many = sin
    left, right = weights
    again = matrix_free(many.net, X, neurons=2**12, matrices=2**12)
    assert float(again.F[-1].contract(left, right)) == float(many.F[-1].contract(left, right))
    other = matrix_free(many.net, X, key=1, neurons=2**12)
    assert float(other.F[-1].contract(left, right)) != float(many.F[-1].contract(left, right))


def test_it_stands_in_for_the_dense_tensors(sin, weights):
    """Leading axes, layers, broadcasting of weights, a readable name."""
    _, many = sin
    left, right = weights
    tensor = many.V[1:3]
    stacked = tensor.contract(np.stack([left, right])[:, None], right)
    assert stacked.shape == (2, 2)
    np.testing.assert_allclose(stacked[1, 0], many.V[1].contract(right, right), rtol=1e-12)
    assert repr(many.D[-1].T).startswith("MatrixFreeTensor(D^T of layer 4; N = 5, 4096 neurons")
    assert many.V[-1].restrict([0, 1]).dense().shape == (2, 2, 2, 2)
    with pytest.raises(IndexError):
        _ = many.V[0, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda many: many.V.contract(np.eye(3), np.eye(5)), r"X: wanted a matrix.*5, 5"),
        (lambda many: many.V.crossed(np.eye(5), "ab"), "axes: wanted one of bd, bc, ad, ac"),
        (lambda many: many.V.contract_with_error(np.eye(5), np.eye(5), accuracy=0), "accuracy"),
        (lambda many: many.V.entries([[0, 0, 0, 5]]), "quadruples"),
        (lambda many: matrix_free(many.net, X, neurons=1), "neurons: wanted at least 2"),
        (
            lambda many: matrix_free(fw.MLP((4, 3, 1), "perceptron"), X),
            "an activation that jumps has no neural tangent kernel",
        ),
        (
            lambda many: matrix_free(fw.MLP((4, 3, 1), "tanh", law="orthogonal"), X),
            "Gaussian weights",
        ),
        (lambda many: matrix_free(many.net, np.ones((60, 4))).V.dense(), "at most 48 samples"),
    ],
)
def test_bad_arguments(sin, call, message):
    with pytest.raises(ValueError, match=message):
        call(sin[1])
