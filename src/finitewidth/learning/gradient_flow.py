r"""Gradient flow at infinite width for any loss, in the space of functions.

    da/d(eta t) = eps(z_A - Theta_AA a, y),     z_delta(t) = z_delta - Theta_{delta A} a(t)

PDLT (10.33) for steps that are ever smaller. For the squared error `predict` has it in closed form.
"""

from typing import Any

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.learning.function_space import check_problem
from finitewidth.network.losses import Loss
from finitewidth.precision import in_double_precision


@in_double_precision
def flow_duals(
    Theta: Float[ArrayLike, "N N"],
    initial: Float[ArrayLike, "N n_L"],
    y: ArrayLike,
    times: Float[ArrayLike, " M"],
    loss: str | Loss = "mse",
    *,
    tolerance: float = 1e-10,
    solver: diffrax.AbstractSolver | None = None,
) -> Float[Array, "M N n_L"]:
    """Integrate gradient flow of an infinitely wide network, PDLT (10.33).

    Args:
        Theta: frozen NTK of the training inputs Theta_AA, shape (N, N).
        initial: outputs z_A before training, shape (N, n_L).
        y: targets; probabilities or classes for the cross-entropy.
        times: eta t, ascending and not negative, shape (M,).
        loss: "mse", "cross-entropy", or a function of (z, y) of one sample.
        tolerance: of the integration, relative to the duals and absolute.
        solver: a Diffrax solver; Tsitouras' by default. An implicit one, `diffrax.Kvaerno5()`, is
            better for times far beyond 1/lambda_max.

    Returns:
        Dual variables a, so that z_delta(t) = z_delta - Theta_{delta A} a(t), shape (M, N, n_L).

    Raises:
        TypeError, ValueError: for shapes that do not fit, a Theta that is no covariance, bad
            times or a bad loss.

    Cost: about lambda_max times the last time, in steps of N^2 n_L.

    Example:
        >>> a = flow_duals([[2.0]], [[1.0]], [[0.0]], [0.0, 1.0])  # z = exp(-2 t)
        >>> [round(float(1 - 2 * dual[0, 0]), 8) for dual in a]
        [1.0, 0.13533528]
    """
    Theta, z, targets, kind = check_problem(Theta, initial, y, loss)
    moments = np.atleast_1d(np.asarray(times, dtype=float))
    ascending = moments.ndim == 1 and not (np.diff(moments, prepend=0) < 0).any()
    if not ascending or not np.isfinite(moments).all():
        raise ValueError(f"times: wanted ascending finite times >= 0, got {times}.")
    chosen = diffrax.Tsit5() if solver is None else solver
    return _flow(Theta, z, targets, kind, jnp.asarray(moments), tolerance, chosen)


@eqx.filter_jit
def _flow(
    Theta: Array,
    z: Array,
    y: Array,
    loss: Loss,
    times: Array,
    tolerance: float,
    solver: diffrax.AbstractSolver,
) -> Float[Array, "M N n_L"]:
    def velocity(t: Any, a: Array, args: None) -> Array:
        return loss.error_factor(z - Theta @ a, y)

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(velocity),
        solver,
        t0=0.0,
        # A flow of no time has no steps; what is read off at 0 is the start all the same.
        t1=jnp.maximum(times[-1], 1e-300),
        dt0=None,
        y0=jnp.zeros_like(z),
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
        max_steps=1_000_000,
    )
    assert solution.ys is not None
    return solution.ys
