"""Same key, same numbers, whatever the devices; and wrong input is refused in words."""

import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from finitewidth.ensemble import Sampler, measure, merge_states
from finitewidth.ensemble.observables import build_observables
from finitewidth.network import MLP
from finitewidth.precision import double_precision

X = np.array([[1.2, 0.1, -0.4], [0.5, 0.9, 0.3]])


def network(activation="tanh", **options):
    return MLP((3, 5, 5, 2), activation, C_b=0.1, C_W=1.4, **options)


def same(a, b):
    assert list(a) == list(b)
    for name in a:
        np.testing.assert_array_equal(a[name].value, b[name].value)
        np.testing.assert_array_equal(a[name].standard_error, b[name].standard_error)
        assert a[name].samples == b[name].samples


def test_the_same_key_gives_the_same_numbers():
    one, two = (measure(network(), X, samples=300, key=4, chunk_size=64) for _ in range(2))
    same(one, two)
    other = measure(network(), X, samples=300, key=5, chunk_size=64)
    assert not np.allclose(one.metric.value[1], other.metric.value[1], rtol=1e-6)


def test_a_whole_number_and_all_kinds_of_keys_are_keys():
    by_number = measure(network(), X, "metric", 20, 4, "chain")
    same(by_number, measure(network(), X, "metric", 20, jax.random.key(4), "chain"))
    same(by_number, measure(network(), X, "metric", 20, jax.random.PRNGKey(4), "chain"))


def test_single_precision_outside_changes_nothing():
    inside = measure(network(), X, samples=100, key=4)
    with jax.enable_x64(False):
        outside = measure(network(), X, samples=100, key=4)
        assert not jax.config.jax_enable_x64
    same(inside, outside)
    assert outside.metric.value.dtype == np.float64


@pytest.mark.parametrize("method", ["weights", "chain"])
def test_chunks_in_any_order_fold_to_the_same_numbers(method):
    """What a cluster will do: compute chunks anywhere in any order, fold them by number."""
    net, key = network(), jax.random.key(9)
    observables = build_observables(("metric", "vertex"))
    sampler = Sampler(net, jnp.asarray(X), observables, None, method, 50).pilot(key)
    states = {number: sampler(key, number) for number in (3, 0, 2, 1)}
    state = merge_states([jax.device_get(states[number]) for number in range(4)])
    m = measure(net, X, samples=200, key=key, method=method, chunk_size=50)
    np.testing.assert_array_equal(state["metric"].mean, m.metric.value)
    covariance = state["vertex"].covariance()
    np.testing.assert_array_equal(5 * covariance.value[1, 0, 0], m.vertex.value[1, 0, 0, 0, 0])


def test_chunks_of_ntk_tensors_fold_to_the_same_numbers():
    net, key, names = network(), jax.random.key(9), ("A", "B", "D", "F")
    sampler = Sampler(net, jnp.asarray(X), build_observables(names), None, "weights", 50)
    sampler = sampler.pilot(key)
    states = {number: jax.device_get(sampler(key, number)) for number in (2, 0, 1)}
    state = merge_states([states[number] for number in range(3)])
    m = measure(net, X, names, 150, key, chunk_size=50)
    for o in sampler.observables:
        estimate = o.estimate(state[o.name], np.array([3.0, 5.0, 5.0]), None)
        np.testing.assert_array_equal(estimate.value, m[o.name].value)
        np.testing.assert_array_equal(estimate.standard_error, m[o.name].standard_error)
    # Chunks of another size are other networks: the same physics, not the same numbers.
    other = measure(net, X, names, 150, key, chunk_size=30)
    assert not np.allclose(m.B.value[1], other.B.value[1], rtol=1e-6)


def test_the_last_part_of_a_chunk_counts_only_its_networks():
    m = measure(network(), X, "metric", 70, key=4, chunk_size=50)
    sampler = Sampler(network(), jnp.asarray(X), build_observables("metric", None), None,
                      "weights", 50)  # fmt: skip
    key = jax.random.key(4)
    drawn = np.concatenate([sampler.draw(key, 0).metric, sampler.draw(key, 1).metric[:20]])
    assert m.metric.samples == 70
    np.testing.assert_allclose(m.metric.value, drawn.mean(0), rtol=1e-13)
    error = drawn.std(0, ddof=1) / np.sqrt(70)
    np.testing.assert_allclose(m.metric.standard_error, error, rtol=1e-10, atol=1e-15)


def test_networks_of_different_chunks_are_different():
    sampler = Sampler(network(), jnp.asarray(X), build_observables("metric", None), None,
                      "chain", 50)  # fmt: skip
    key = jax.random.key(4)
    drawn = np.concatenate([sampler.draw(key, number).metric[:, -1, 0, 0] for number in range(3)])
    assert len(np.unique(drawn)) == 150


def test_the_number_of_devices_changes_nothing():
    script = textwrap.dedent(
        """
        import jax, numpy as np
        from finitewidth.ensemble import measure
        from finitewidth.network import MLP
        net = MLP((3, 5, 5, 2), "tanh", C_b=0.1, C_W=1.4)
        x = [[1.2, 0.1, -0.4], [0.5, 0.9, 0.3]]
        m = measure(net, x, ("metric", "vertex"), 330, 4, "chain", chunk_size=50)
        digits = np.concatenate([m.metric.value.ravel(), m.vertex.standard_error.ravel()])
        print(jax.local_device_count(), digits.tobytes().hex())
        """
    )
    outputs = []
    for devices in (1, 3):
        flags = f"--xla_force_host_platform_device_count={devices}"
        environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        count, digits = done.stdout.split()
        assert int(count) == devices
        outputs.append(digits)
    assert outputs[0] == outputs[1]


def test_progress_is_reported_and_drawn(capsys):
    seen = []
    measure(
        network(),
        X,
        "metric",
        120,
        method="chain",
        chunk_size=50,
        progress=lambda *now: seen.append(now),
    )
    assert seen == [(0, 120), (50, 120), (100, 120), (120, 120)]
    measure(network(), X, "metric", 120, method="chain", chunk_size=50, progress=True)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"samples": 1}, ValueError, "samples: wanted at least 2, got 1"),
        ({"samples": 2.5}, TypeError, "samples: wanted a whole number, got 2.5"),
        (
            {"samples": 2, "observables": "metric_cumulant3"},
            ValueError,
            "samples: wanted at least 3, got 2",
        ),
        (
            {"observables": ("metric", "spin")},
            ValueError,
            "wanted some of metric, vertex, metric_cumulant3, ntk, A, B, D, F, .*, got 'spin'",
        ),
        ({"observables": ()}, ValueError, "observables: wanted some of .*, got none"),
        ({"x": [[1.0, np.nan, 0.0]]}, ValueError, "x: wanted finite numbers, got 1 NaN"),
        ({"x": [[1.0, 0.0]]}, ValueError, "x: wanted 3 features.*got 2"),
        ({"method": "magic"}, ValueError, "method: wanted one of weights, chain, got 'magic'"),
        (
            {"method": "chain", "observables": "ntk"},
            ValueError,
            "ntk needs weights; wanted method 'weights', got 'chain'",
        ),
        (
            {"x": np.ones((300, 3)), "observables": "D", "chunk_size": 1},
            ValueError,
            "wanted fewer inputs",
        ),
        ({"chunk_size": 0}, ValueError, "chunk_size: wanted at least 1, got 0"),
        ({"chunk_size": 10**12}, ValueError, "chunk_size: wanted at most .* got 1000000000000"),
        ({"key": "abc"}, TypeError, "key: wanted a whole number, got 'abc'"),
        ({"key": np.arange(3.0)}, TypeError, "key: wanted"),
        ({"x": np.ones((400, 3)), "observables": "vertex"}, ValueError, "wanted fewer inputs"),
    ],
)
def test_wrong_input_is_refused_in_words(change, error, message):
    arguments = {"net": network(), "x": X, "samples": 10} | change
    with pytest.raises(error, match=message):
        measure(**arguments)


def test_a_network_that_overflows_is_named():
    net = MLP((3, *(4,) * 8, 1), "relu", C_W=1e60)
    with pytest.raises(ValueError, match=r"metric: not finite from layer [3-8] on"):
        measure(net, X, "metric", samples=10, method="chain")


def test_memory_does_not_grow_with_the_number_of_networks():
    """A hundred chunks leave no arrays behind."""
    with double_precision():
        measure(network(), X, samples=100, method="chain", chunk_size=10)
        before = len(jax.live_arrays())
        measure(network(), X, samples=1000, method="chain", chunk_size=10)
        assert len(jax.live_arrays()) <= before + 20
