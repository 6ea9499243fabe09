"""Outputs and gradients are those of the plain forward pass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from finitewidth.ensemble.outer_gradients import MOST_SAMPLES, outputs
from finitewidth.network import MLP


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("samples", [1, 3, MOST_SAMPLES, MOST_SAMPLES + 1])
def test_outputs_and_gradients(samples, activation):
    rng = np.random.default_rng(samples)
    net = MLP((3, 7, 5, 2), activation, C_b=0.3, C_W=1.4)
    params = jax.vmap(net.init)(jax.random.split(jax.random.key(1), 2))
    x, weights = jnp.asarray(rng.normal(size=(samples, 3))), jnp.asarray(rng.normal(size=2))

    def total(forward):
        return lambda p: jnp.sum(jnp.sin(forward(p, x)) @ weights)

    plain = jax.vmap(jax.value_and_grad(total(net.apply)))(params)
    written_out = jax.vmap(jax.value_and_grad(total(lambda p, x: outputs(net, p, x))))(params)
    for wanted, got in zip(jax.tree.leaves(plain), jax.tree.leaves(written_out), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-13)
