r"""The evidence of labels: which network, and which hyperparameters, they speak for.

    p(y | H) = N(y; 0, G_AA + sigma^2 1) for each output               PDLT (6.34)
    p(H_a | y) = p(y | H_a) p(H_a) / sum_b p(y | H_b) p(H_b)           PDLT (6.29)

and to first order in 1/width as in `bayes.posterior`.

Two inputs in the basis of PDLT (5.16), K = K_0 g_0 + K_1 g_1 + K_2 g_2 with sum, difference and
relative size of the inputs, have the evidence (6.48) in closed form.
"""

import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.bayes.output_metric import Method
from finitewidth.bayes.posterior import predict
from finitewidth.bayes.regression import check_problem
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.validation import is_concrete


@in_double_precision
def log_evidence(
    net: MLP,
    x: Float[ArrayLike, "N n0"],
    y: Float[ArrayLike, "N n_L"],
    noise: float = 0.0,
    order: int = 1,
    method: Method | None = None,
    key: int = 0,
) -> Float[Array, ""]:
    """Compute the log-evidence of labels, the log density that the ensemble gives them.

    PDLT (6.34) at order 0, `bayes.posterior` at order 1. At order 0 it may be differentiated with
    respect to the hyperparameters of the network and the noise.

    Args:
        net: the network.
        x: inputs, shape (N, n_0).
        y: labels, shape (N, n_L), or (N,) for one output.
        noise: variance of the observation noise.
        order: 0 for infinite width, 1 with the first correction in 1/width.
        method: "dense", "matrix_free" or None, as in `posterior`.
        key: of the neurons that "matrix_free" draws.

    Returns:
        log p(y), natural logarithm.

    Raises:
        ValueError: as `posterior`.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP((1, 50, 1), "relu", C_W=2.0)
        >>> round(float(fw.bayes.log_evidence(net, [[1.0]], [2.0], order=0)), 9)  # K = 2
        -2.265512123
    """
    x, y, variance, _ = check_problem(net, x, y, noise)
    return predict(net, x, y, x[:0], variance, order, method, key).log_evidence


@in_double_precision
def expansion_parameter(
    net: MLP,
    x: Float[ArrayLike, "N n0"],
    y: Float[ArrayLike, "N n_L"],
    noise: float = 0.0,
    method: Method | None = None,
    key: int = 0,
) -> Float[Array, ""]:
    """Compute M:W:M, the relative variance of the evidence over networks.

    It tells whether first order in 1/width can be trusted. Of N networks drawn from the prior,
    N exp(-M:W:M) are effective samples of the posterior.

    Args:
        net: the network.
        x: inputs, shape (N, n_0).
        y: labels, shape (N, n_L), or (N,) for one output.
        noise: variance of the observation noise.
        method: as in `posterior`.
        key: of the neurons that "matrix_free" draws.

    Returns:
        The parameter; first-order results are to be trusted up to about 0.3.

    Raises:
        ValueError: as `posterior`.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP((1, 50, 1), "relu", C_W=2.0)
        >>> round(float(fw.bayes.expansion_parameter(net, [[1.0]], [2.0])), 12)  # 5/50 (1/2)^2
        0.025
    """
    x, y, variance, _ = check_problem(net, x, y, noise)
    return predict(net, x, y, x[:0], variance, 1, method, key).expansion_parameter


class Comparison(eqx.Module):
    """Hypotheses and what the labels say of them.

    Attributes:
        log_evidence: log p(y | H_a), shape (hypotheses,).
        log_prior: log p(H_a), normalized, shape (hypotheses,).
        probability: p(H_a | y), shape (hypotheses,).
    """

    log_evidence: Float[Array, " hypotheses"]
    log_prior: Float[Array, " hypotheses"]
    probability: Float[Array, " hypotheses"]

    @property
    @in_double_precision
    def best(self) -> int:
        """The number of the most probable hypothesis."""
        return int(jnp.argmax(self.probability))

    @in_double_precision
    def log_bayes_factor(self, one: int, other: int) -> Float[Array, ""]:
        """Return log p(y | H_one) - log p(y | H_other), PDLT (6.31)."""
        return self.log_evidence[one] - self.log_evidence[other]

    def __repr__(self) -> str:
        rows = [f"Comparison of {len(self.probability)} hypotheses"]
        for number, (evidence, probability) in enumerate(
            zip(self.log_evidence, self.probability, strict=True)
        ):
            rows.append(f"  {number}: log-evidence {evidence:.6g}, probability {probability:.4g}")
        return "\n".join(rows)


@in_double_precision
def compare(
    nets: Sequence[MLP],
    x: Float[ArrayLike, "N n0"],
    y: Float[ArrayLike, "N n_L"],
    noise: float = 0.0,
    order: int = 0,
    log_prior: ArrayLike | None = None,
) -> Comparison:
    """Compare networks by the evidence of the same labels, PDLT (6.29)-(6.31).

    Args:
        nets: the hypotheses: they may differ in depth, width, activation and hyperparameters.
        x: inputs, shape (N, n_0).
        y: labels, shape (N, n_L), or (N,) for one output.
        noise: variance of the observation noise.
        order: 0 for infinite width, 1 with the first correction in 1/width.
        log_prior: log p(H_a) up to a constant, shape (hypotheses,); uniform by default.

    Returns:
        Evidences and probabilities of the hypotheses.

    Raises:
        ValueError: if there is no network, the prior does not fit, or as `posterior`.

    Example:
        >>> import finitewidth as fw
        >>> nets = [fw.MLP((1, 50, 1), "relu", C_W=C_W) for C_W in (1.0, 2.0, 4.0)]
        >>> compare(nets, [[1.0]], [1.4]).best
        1
    """
    if not nets:
        raise ValueError("nets: wanted at least one network, got none.")
    prior = jnp.zeros(len(nets)) if log_prior is None else jnp.asarray(log_prior, dtype=float)
    if prior.shape != (len(nets),):
        raise ValueError(
            f"log_prior: wanted one number for each of {len(nets)} networks, got {prior.shape}."
        )
    evidences = jnp.stack([log_evidence(net, x, y, noise, order) for net in nets])
    prior = jax.nn.log_softmax(prior)
    return Comparison(evidences, prior, jax.nn.softmax(evidences + prior))


@in_double_precision
def two_input_log_evidence(
    K: Float[ArrayLike, "3"], y_plus: Float[ArrayLike, " n_L"], y_minus: Float[ArrayLike, " n_L"]
) -> Float[Array, ""]:
    """Compute the log-evidence of two labelled inputs from the kernel in the basis of PDLT (5.16).

    PDLT (6.45), (6.48); the lower right entry of the kernel (6.46) is K_0 - K_1 + K_2, printed
    with the wrong sign of K_1 in the book.

    Args:
        K: (K_0, K_1, K_2).
        y_plus: label of the first input, shape (n_L,).
        y_minus: label of the second input, shape (n_L,).

    Returns:
        log p(y_+, y_-).

    Raises:
        ValueError: if the labels do not have the same shape or the kernel is not positive.

    Example:
        >>> round(float(two_input_log_evidence([0.9, 0.0, 0.25], [1.0], [0.5])), 6)
        -2.222697
    """
    K0, K1, K2 = jnp.asarray(K, dtype=float)
    plus, minus = (jnp.atleast_1d(jnp.asarray(y, dtype=float)) for y in (y_plus, y_minus))
    if plus.shape != minus.shape or plus.ndim != 1:
        raise ValueError(
            f"y_plus, y_minus: wanted two labels of shape (n_L,), got {plus.shape}, {minus.shape}."
        )
    determinant = 4 * K0 * K2 - K1**2
    if is_concrete(determinant) and not np.asarray(determinant) > 0:
        raise ValueError(f"K: wanted 4 K_0 K_2 > K_1^2, got {[float(k) for k in (K0, K1, K2)]}.")
    Y0 = (((plus + minus) / 2) ** 2).sum()
    Y1 = ((plus**2).sum() - (minus**2).sum()) / 2
    Y2 = (((plus - minus) / 2) ** 2).sum()
    quadratic = (4 * K0 * Y2 + 4 * K2 * Y0 - 2 * K1 * Y1) / determinant
    return -0.5 * (plus.shape[0] * jnp.log(4 * math.pi**2 * determinant) + quadratic)
