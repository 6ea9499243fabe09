r"""The test loss of an ensemble of trained networks: bias, variance, and how far it fluctuates.

With outputs z = m + dz, dz_i ~ N(0, C) independently, and per test input beta the gradient g and
Hessian H of the loss of one sample at m, to second order in dz

    E[L_B]   = L_B(m) + (1/2) sum_beta tr(H_beta) C_bb                              PDLT (10.55)
    Var[L_B] = sum_i g_i^T C g_i + (1/2) sum_bc tr(H_b H_c) C_bc^2                     derived

Exact for the squared error, where g = m - y and H = 1: bias (1/2) sum_i |m_i - y_i|^2 and variance
(n_L/2) tr C, PDLT (10.52). For the cross-entropy tr H = 1 - sum_i q_i^2 with q = softmax m.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from finitewidth.learning.prediction import Prediction
from finitewidth.network.losses import Loss, check_targets, loss_of
from finitewidth.precision import in_double_precision


class ExpectedLoss(eqx.Module):
    """The loss over the test set of networks of an ensemble, summed over the inputs.

    Attributes:
        bias: loss of the mean prediction.
        variance: what the differences between networks add to the mean loss.
        standard_deviation: of the loss from network to network.
    """

    bias: Float[Array, ""]
    variance: Float[Array, ""]
    standard_deviation: Float[Array, ""]

    @property
    @in_double_precision
    def mean(self) -> Float[Array, ""]:
        """E[L_B], bias and variance together."""
        return self.bias + self.variance

    def __repr__(self) -> str:
        return (
            f"Expected loss {float(self.mean):.6g} = bias {float(self.bias):.6g} + variance "
            f"{float(self.variance):.6g}; network to network {float(self.standard_deviation):.4g}"
        )


@in_double_precision
def expected_test_loss(
    prediction: Prediction, y_test: ArrayLike, loss: str | Loss | Callable = "mse"
) -> ExpectedLoss:
    """Compute bias, variance and fluctuation of the test loss, PDLT (10.52), (10.55).

    Args:
        prediction: of the ensemble at the test inputs. At training inputs the result is L_A, and
            the difference of the two the generalization error, PDLT (10.50), (10.51).
        y_test: targets of the test inputs; probabilities or classes for the cross-entropy.
        loss: "mse", "cross-entropy", or a function of (z, y) of one sample, twice differentiable.

    Returns:
        The parts, sums over the test inputs.

    Raises:
        TypeError, ValueError: for targets that do not fit, or a bad loss.

    Accuracy: exact for the squared error; otherwise to second order in the fluctuations of
    outputs, to be trusted if the standard deviation is well below what changes the loss.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP.critical((2, 100, 100, 1), "tanh")
        >>> found = fw.learning.predict(net, [[1.0, 0.0]], [1.0], [[0.0, 1.0], [1.0, 0.0]])
        >>> expected_test_loss(found, [0.0, 1.0])
        Expected loss 0.421692 = bias 0.277764 + variance 0.143929; network to network 0.4487
    """
    kind = loss_of(loss)
    m = prediction.mean
    y = check_targets(y_test, m.shape[0], m.shape[1], kind)
    return loss_moments(m, prediction.covariance, y, kind)


def loss_moments(
    m: Float[Array, "N_test n_L"], C: Float[Array, "N_test N_test"], y: Array, loss: Loss
) -> ExpectedLoss:
    """Return the parts for arrays that are already checked; traceable."""
    gradient = loss.error_factor(m, y)
    hessian = jax.vmap(jax.hessian(loss.of_sample))(m, y)
    own = jnp.einsum("bii,bb->", hessian, C) / 2
    spread = jnp.einsum("bi,bc,ci->", gradient, C, gradient)
    spread = spread + jnp.einsum("bij,cij,bc->", hessian, hessian, C**2) / 2
    return ExpectedLoss(loss(m, y), own, jnp.sqrt(spread))
