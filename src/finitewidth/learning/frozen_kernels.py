r"""Kernel and frozen NTK of training and test inputs, which decide what wide networks learn.

    K_DD, Theta_DD  with D = A + B: training inputs A first, test inputs B after them

at the output layer, PDLT (10.44), (10.45). Rule "ntk" trains all layers with the rates of the
network; rule "bayes" the last one alone with lambda_b = C_b, lambda_W = C_W, so that Theta = K,
PDLT (10.46), (10.48).
"""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.flow import output_kernel, output_kernels
from finitewidth.network import MLP
from finitewidth.validation import check_inputs, equal_inputs, is_concrete, is_lost_in_rounding

Rule = Literal["ntk", "bayes"]


class FrozenKernels(eqx.Module):
    """Kernel and NTK of the output layer over training and test inputs.

    Attributes:
        kernel: K_DD, shape (D, D).
        ntk: Theta_DD, shape (D, D).
        training: the number of training inputs N, which come first.
    """

    kernel: Float[Array, "D D"]
    ntk: Float[Array, "D D"]
    training: int = eqx.field(static=True)

    @property
    def training_ntk(self) -> Float[Array, "N N"]:
        """Theta_AA, shape (N, N)."""
        return self.ntk[: self.training, : self.training]

    @property
    def test_ntk(self) -> Float[Array, "N_test N"]:
        """Theta_BA, shape (N_test, N)."""
        return self.ntk[self.training :, : self.training]


def frozen_kernels(
    net: MLP, x: Float[Array, "N n0"], x_test: Float[Array, "N_test n0"], rule: Rule = "ntk"
) -> FrozenKernels:
    """Compute K and Theta of the output layer for inputs that are already checked.

    Raises:
        ValueError: for a rule that is not "ntk" or "bayes".
    """
    everything = jnp.concatenate([x, x_test])
    if rule == "bayes":
        K = output_kernel(net, everything)
        return FrozenKernels(K, K, x.shape[0])
    if rule != "ntk":
        raise ValueError(f"rule: wanted 'ntk' or 'bayes', got {rule!r}.")
    return FrozenKernels(*output_kernels(net, everything), x.shape[0])


def check_tests(net: MLP, x_test: ArrayLike) -> Float[Array, "N_test n0"]:
    """Return test inputs in double precision, or say what is wrong with them."""
    return check_inputs(x_test, net.widths[0], "x_test")


def solve_ntk(
    Theta: Float[Array, "N N"],
    right: Float[Array, "N M"],
    x: Array | None = None,
    y: Array | None = None,
) -> Float[Array, "N M"]:
    """Return Theta_AA^-1 times a matrix, by a Cholesky factor.

    Args:
        Theta: Theta_AA.
        right: the matrix.
        x: training inputs, to look for equal ones if it is singular.
        y: their targets.

    Raises:
        ValueError: as `check_invertible`.
    """
    root = jnp.linalg.cholesky(Theta)
    check_invertible(Theta, root, x, y)
    return jax.scipy.linalg.cho_solve((root, True), right)


def check_invertible(
    Theta: Float[Array, "N N"],
    root: Float[Array, "N N"],
    x: Array | None = None,
    y: Array | None = None,
) -> None:
    """Refuse an NTK of the training inputs that is singular to rounding, and say why it is.

    Args:
        Theta: Theta_AA.
        root: its Cholesky factor, NaN if there is none.
        x: training inputs, to look for equal ones.
        y: their targets.

    Raises:
        ValueError: naming two equal inputs if there are any.
    """
    if not all(is_concrete(value) for value in (Theta, root, x, y)):
        return
    if not is_lost_in_rounding(root, np.diagonal(np.asarray(Theta))):
        return
    twins = None if x is None else equal_inputs(x)
    if twins:
        one, other = twins
        same = y is not None and np.array_equal(np.asarray(y)[one], np.asarray(y)[other])
        raise ValueError(
            f"x: inputs {one} and {other} are equal and have "
            f"{'the same' if same else 'different'} targets; no network can be trained to two "
            "values at one input, and the NTK of the training inputs is singular. Drop one."
        )
    raise ValueError(
        "x: the NTK of the training inputs is singular to rounding: inputs that are zero or "
        "collinear do that without rates of biases, deep networks with nearby inputs too. Drop "
        "inputs, use lambda_b > 0 and C_b > 0, or train for finite time (`steps`, `time`)."
    )
