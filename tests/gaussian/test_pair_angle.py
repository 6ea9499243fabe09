"""The vectorized angle against mpmath, in all directions and at its seams."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np

from finitewidth.gaussian.pair.angle import angle


def test_every_direction_and_scale_against_mpmath():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 300)) * 10.0 ** rng.uniform(-6, 6, size=(2, 300))
    seam = np.array([1.0, 1.0, 1.0, -1.0, 0.0, 2.0, np.sqrt(3.0)])
    x = np.concatenate([x, seam, -seam])
    y = np.concatenate([y, [1.0, -1.0, 0.0, 0.0, 1.0, 1e-9, 1.0], -seam[::-1]])
    want = [float(mp.atan2(mp.mpf(b), mp.mpf(a))) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(angle(jnp.array(y), jnp.array(x)), want, rtol=1e-15)
    assert float(angle(jnp.array(0.0), jnp.array(0.0))) == 0.0


def test_derivatives_are_those_of_atan2():
    y, x = jnp.array([0.3, -1.2, 2.0, 1e-8]), jnp.array([1.1, -0.4, 0.1, -1.0])
    for which in (0, 1):
        ours, theirs = (jax.vmap(jax.grad(f, argnums=which)) for f in (angle, jnp.arctan2))
        np.testing.assert_allclose(ours(y, x), theirs(y, x), rtol=1e-13)
    hessian = jax.vmap(jax.hessian(angle, argnums=(0, 1)))(y, x)
    wanted = jax.vmap(jax.hessian(jnp.arctan2, argnums=(0, 1)))(y, x)
    np.testing.assert_allclose(hessian, wanted, rtol=1e-12)
    assert np.isfinite(jax.grad(angle)(0.0, 0.0))
