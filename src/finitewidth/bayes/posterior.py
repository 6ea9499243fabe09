r"""The posterior of an ensemble of networks, at infinite width and to first order in 1/width.

Given the hidden layers, outputs are a Gaussian process with a random metric G^, so the posterior is
a mixture over G^ of Gaussian posteriors, weighted by their evidence. With dG = G^ - G,
W = Cov(dG, dG), and the regression on G (`bayes.regression`: a, P, Q, M),

    d m_i = P^T dG a_i,   (1/2) d^2 m_i = -P^T dG Q dG a_i,   d log p = M : dG,

and E[p m]/E[p], to second order in dG, is

    <z_i> = G a_i + P^T W[M] a_i - P^T (W o Q) a_i
    Cov(z_ib, z_jc) = d_ij { K_post + P^T W[M] P - P^T (W o Q) P }_bc
                      + sum W_(12)(34) P_b1 a_i2 P_c3 a_j4
    log p(y) = log p_G(y) + (1/2) M:W:M - (1/2) A : (W o Q) + (n_L/4) Q : (W o Q)

with W[M]_12 = sum W_(12)(34) M_34, (W o Q)_14 = sum W_(12)(34) Q_23 and A = sum_i a_i a_i^T. The
first line is PDLT (6.88) without an inverse of anything that holds a test input; the last term of
the covariance is what wires the outputs together, PDLT (6.89). At infinite width W = 0: (6.57),
(6.64), (6.34).

The expansion parameter is not 1/width but M:W:M, the relative variance of the evidence over
networks; it grows with the number of labels.
"""

import warnings
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, ArrayLike, Float

from finitewidth.bayes.output_metric import Method, output_metric
from finitewidth.bayes.regression import (
    Regression,
    check_problem,
    check_regular,
    infinite_width_regression,
    regression,
)
from finitewidth.gaussian.four_point import SOBOL_POINTS
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.tensors import DenseTensor, FactorizedTensor, PairTensor
from finitewidth.validation import is_concrete

#: Above this M:W:M the first order in 1/width is not to be trusted.
LARGEST_EXPANSION_PARAMETER = 0.3


class ExpansionWarning(UserWarning):
    """The first order in 1/width is outside the range where it can be trusted."""


class Posterior(eqx.Module):
    """Prediction of an ensemble of networks that has seen labels.

    Attributes:
        net: the network.
        order: 0 at infinite width, 1 with the first correction in 1/width.
        mean: shape (N_test, n_L).
        covariance: of any one output, between test inputs, shape (N_test, N_test), without what
            wires outputs together.
        coupling: sum W P a P a, the rest of the covariance, an operator with the axes
            (test, output, test, output); None at order 0 and without test inputs.
        log_evidence: log density of the labels.
        expansion_parameter: M:W:M, 0 at order 0. The fraction exp(-M:W:M) of networks drawn from
            the prior would be effective samples.
        mean_error: statistical error of the mean from drawn neurons, 0 if nothing was drawn.
        log_evidence_error: that of the log-evidence.
    """

    net: MLP
    order: int = eqx.field(static=True)
    mean: Float[Array, "N_test n_L"]
    covariance: Float[Array, "N_test N_test"]
    coupling: PairTensor | None
    log_evidence: Float[Array, ""]
    expansion_parameter: Float[Array, ""]
    mean_error: Float[Array, "N_test n_L"]
    log_evidence_error: Float[Array, ""]

    @property
    @in_double_precision
    def component_covariance(self) -> Float[Array, "N_test n_L n_L"]:
        """Covariance between the outputs at each test input, shape (N_test, n_L, n_L)."""
        tests, outputs = self.mean.shape
        own = jnp.diagonal(self.covariance)[:, None, None] * jnp.eye(outputs)
        if self.coupling is None:
            return own
        b, i, j = np.indices((tests, outputs, outputs)).reshape(3, -1)
        wired = self.coupling.entries(np.stack([b, i, b, j], axis=1))
        return own + wired.reshape(own.shape)

    @property
    @in_double_precision
    def variance(self) -> Float[Array, "N_test n_L"]:
        """Variance of each output at each test input, shape (N_test, n_L)."""
        return jnp.einsum("bii->bi", self.component_covariance)

    @in_double_precision
    def full_covariance(self) -> Float[Array, "N_test n_L N_test n_L"]:
        """Return the covariance of all outputs at all test inputs, (N_test n_L)^2 numbers."""
        outputs = jnp.eye(self.mean.shape[1])
        own = jnp.einsum("bc,ij->bicj", self.covariance, outputs)
        return own if self.coupling is None else own + self.coupling.dense()

    def to_xarray(self) -> xr.Dataset:
        """Return mean, variance and covariance between outputs as a labelled data set."""
        return xr.Dataset(
            {
                "mean": (("test", "output"), np.asarray(self.mean)),
                "variance": (("test", "output"), np.asarray(self.variance)),
                "covariance": (("test", "test_2"), np.asarray(self.covariance)),
                "component_covariance": (
                    ("test", "output", "output_2"),
                    np.asarray(self.component_covariance),
                ),
                "log_evidence": ((), float(self.log_evidence)),
            },
            attrs={
                "network": repr(self.net),
                "order": self.order,
                "expansion_parameter": float(self.expansion_parameter),
            },
        )

    def __repr__(self) -> str:
        tests, outputs = self.mean.shape
        line = (
            f"Posterior of order {self.order} at {tests} test inputs, {outputs} outputs: "
            f"log-evidence {float(self.log_evidence):.6g}"
        )
        if self.order:
            line += f", M:W:M = {float(self.expansion_parameter):.3g}"
        return line


@in_double_precision
def posterior(
    net: MLP,
    x: Float[ArrayLike, "N n0"],
    y: Float[ArrayLike, "N n_L"],
    x_test: Float[ArrayLike, "N_test n0"],
    noise: float = 0.0,
    order: int = 1,
    method: Method | None = None,
    key: int = 0,
    points: int = SOBOL_POINTS,
) -> Posterior:
    """Predict at test inputs with an ensemble of networks that has seen labels.

    PDLT (6.57), (6.64) at order 0; at order 1 (6.83)-(6.89) in the inverse-free form above.

    Args:
        net: the network.
        x: training inputs, shape (N, n_0).
        y: labels, shape (N, n_L), or (N,) for one output.
        x_test: test inputs, shape (N_test, n_0).
        noise: variance of the observation noise, PDLT (6.10), in units of y^2; independent for
            each label. 0 for labels that are exact.
        order: 0 for infinite width, 1 with the first correction in 1/width.
        method: "dense" tensors (at most 48 inputs, training and test) or "matrix_free" ones; None
            chooses by the number of inputs.
        key: of the neurons that "matrix_free" draws.
        points: quasi-random points of the "dense" vertex, as of `flow.preactivations`.

    Returns:
        Mean, covariance, log-evidence and the validity of the expansion. The covariance is that of
        the function; that of a new noisy label has `noise` more on its diagonal.

    Raises:
        ValueError: if the data do not fit the network or each other, the noise is negative, the
            kernel of the training inputs is singular, or the order is not 0 or 1.

    Warns:
        ExpansionWarning: if M:W:M is above 0.3.

    Accuracy: that of kernel and vertex. Without noise, or with little, large parts of the first
    order cancel between training inputs, so that the variance in particular needs more `points`.
    With "matrix_free" the corrections carry a statistical error, `mean_error` and
    `log_evidence_error`.

    Cost: kernel of N + N_test inputs and O(N^3) at order 0; at order 1 also the vertex, O(L N^4)
    dense, or four times what contractions of `flow.matrix_free` take.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP((2, 100, 100, 1), "tanh", C_b=0.1, C_W=1.5)
        >>> x, y = [[1.0, 0.0], [0.0, 1.0]], [1.0, -0.5]
        >>> result = fw.bayes.posterior(net, x, y, [[1.0, 0.0], [0.7, 0.7]])
        >>> result.mean.shape, [round(float(v), 6) for v in result.mean[0]]
        ((2, 1), [1.0])
        >>> abs(float(result.variance[0, 0])) < 1e-9  # an observed input is certain
        True
    """
    x, y, variance, x_test = check_problem(net, x, y, noise, x_test)
    return predict(net, x, y, x_test, variance, order, method, key, points)


def predict(
    net: MLP,
    x: Array,
    y: Array,
    x_test: Array,
    noise: Array,
    order: int,
    method: Method | None,
    key: int,
    points: int = SOBOL_POINTS,
) -> Posterior:
    """Return the posterior for arguments that are already checked; see `posterior`."""
    everything = jnp.concatenate([x, x_test])
    if order not in (0, 1):
        raise ValueError(
            f"order: wanted 0 (infinite width) or 1 (first correction), got {order!r}."
        )
    if order == 0:
        found = infinite_width_regression(net, everything, y, noise)
        check_regular(found, x, noise)
        nothing = jnp.zeros(())
        error = jnp.zeros_like(found.mean)
        return Posterior(
            net, 0, found.mean, found.covariance, None, found.log_evidence, nothing, error, nothing
        )
    metric = output_metric(net, everything, method, key, points)
    check_regular(regression(metric.kernel, y, noise), x, noise)
    found = regression(metric.mean, y, noise)
    check_regular(found, x, noise, "metric to first order in 1/width")
    parts = [_first_order(found, vertex, metric.n) for vertex in metric.vertices]
    mean, covariance, log_evidence, expansion = (
        jnp.stack(estimates)
        for estimates in zip(
            *((p.mean, p.covariance, p.log_evidence, p.expansion_parameter) for p in parts),
            strict=True,
        )
    )
    warn_beyond_validity(expansion.mean())
    return Posterior(
        net,
        1,
        found.mean + mean.mean(axis=0),
        found.covariance + covariance.mean(axis=0),
        _merged([part.coupling for part in parts]),
        found.log_evidence + log_evidence.mean(),
        expansion.mean(),
        _error_of_mean(mean),
        _error_of_mean(log_evidence),
    )


def warn_beyond_validity(expansion_parameter: Float[Array, ""]) -> None:
    """Warn if M:W:M is above `LARGEST_EXPANSION_PARAMETER`."""
    if is_concrete(expansion_parameter) and expansion_parameter > LARGEST_EXPANSION_PARAMETER:
        warnings.warn(
            f"M:W:M = {float(expansion_parameter):.3g} is above {LARGEST_EXPANSION_PARAMETER}: the "
            "first order in 1/width is not to be trusted. Wider networks, fewer labels or more "
            "noise make it smaller.",
            ExpansionWarning,
            stacklevel=4,
        )


class FirstOrder(NamedTuple):
    """What finite width adds to the regression on the mean metric, and M:W:M."""

    mean: Float[Array, "N_test n_L"]
    covariance: Float[Array, "N_test N_test"]
    coupling: PairTensor | None
    log_evidence: Float[Array, ""]
    expansion_parameter: Float[Array, ""]


def _first_order(found: Regression, vertex: PairTensor, n: int) -> FirstOrder:
    """Return the corrections from one vertex; the equations at the top of the module."""
    a, P = found.padded_rows(found.a), found.residual
    Q, M = found.padded(found.Q), found.padded(found.gradient)
    learned = vertex.apply(M) / n
    across = vertex.crossed(Q, "bc") / n
    shift = learned - across
    expansion = (M * learned).sum()
    return FirstOrder(
        P @ shift @ a,
        P @ shift @ P.T,
        _coupling(vertex, P, a, n),
        0.5 * expansion + ((found.y.shape[1] / 4 * Q - a @ a.T / 2) * across).sum(),
        expansion,
    )


def _coupling(vertex: PairTensor, P: Array, a: Array, n: int) -> PairTensor | None:
    """Return sum W_(12)(34) P_b1 a_2i P_c3 a_4j with the axes (b, i, c, j)."""
    if P.shape[0] == 0:
        return None
    if isinstance(vertex, DenseTensor):
        half = jnp.einsum("abcd,xa,bi->xicd", vertex.values / n, P, a)
        return DenseTensor(jnp.einsum("xicd,yc,dj->xiyj", half, P, a))
    drawn = vertex.block()
    assert isinstance(drawn, FactorizedTensor)
    factors = jnp.einsum("xa,sab,bi->sxi", P, drawn.factors, a, optimize="optimal")
    return FactorizedTensor(factors / jnp.sqrt(n), drawn.weights, right=factors / jnp.sqrt(n))


def _merged(couplings: list[PairTensor | None]) -> PairTensor | None:
    if len(couplings) == 1 or couplings[0] is None:
        return couplings[0]
    parts = [c for c in couplings if isinstance(c, FactorizedTensor)]
    factors = jnp.concatenate([c.factors for c in parts])
    weights = jnp.concatenate([c.weights for c in parts]) / len(parts)
    return FactorizedTensor(factors, weights, right=factors)


def _error_of_mean(values: Float[Array, "batches *shape"]) -> Float[Array, "*shape"]:
    """Return the standard error of the mean of independent values, 0 for a single exact one."""
    if values.shape[0] == 1:
        return jnp.zeros_like(values[0])
    return jnp.std(values, axis=0, ddof=1) / jnp.sqrt(values.shape[0])
