r"""Importance sampling of the posterior of real networks, the last layer integrated out.

Hidden layers are drawn from the prior. With $w$, $m$ and $\mathbb K$ of one network as in
`last_layer`, and E the mean over networks, the posterior of the outputs at test inputs, derived
from PDLT (6.14) and (4.69), is the mixture

$$\log p(y) = \log E[w],\qquad \langle z_{i;a}\rangle = \frac{E[w\,m_{i;a}]}{E[w]},\qquad
\langle z_{i;a} z_{j;b}\rangle =
\frac{E[w\,(m_{i;a} m_{j;b} + \delta_{ij}\mathbb K_{ab})]}{E[w]} ,$$

and the posterior mean of anything that hidden layers do is $E[w\,O]/E[w]$. All hold at any width,
with no expansion in $1/n$.
"""

import json
import warnings
from os import PathLike
from typing import get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from finitewidth.bayes.sampling.arguments import check_network, check_problem
from finitewidth.bayes.sampling.last_layer import condition_last_layer
from finitewidth.bayes.sampling.posterior import SampledPosterior
from finitewidth.bayes.sampling.weighted_sums import (
    BLOCKS,
    Arrays,
    Sums,
    WeightedSums,
    sum_over_blocks,
)
from finitewidth.ensemble import draw_by_chain, draw_by_weights
from finitewidth.ensemble.checkpoint import FORMAT, Checkpoint, digest, key_part, network_parts
from finitewidth.ensemble.chunk import DEFAULT_CHUNK_NUMBERS, Method, choose_chunk_size
from finitewidth.ensemble.measure import as_key
from finitewidth.ensemble.observables import build_observables
from finitewidth.ensemble.stream import ProgressReport, fold, progress_report
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count

# With fewer effective networks than blocks the error bars themselves cannot be trusted.
FEWEST_EFFECTIVE = BLOCKS


@in_double_precision
def importance_sample(
    net: MLP,
    x: Float[ArrayLike, "N n0"],
    y: Float[ArrayLike, "N n_L"],
    x_test: Float[ArrayLike, "N_test n0"] | None = None,
    noise: float = 0.0,
    samples: int = 10_000,
    key: int | PRNGKeyArray = 0,
    method: Method = "chain",
    progress: bool | ProgressReport = False,
    checkpoint: str | PathLike[str] | None = None,
    checkpoint_seconds: float = 60.0,
) -> SampledPosterior:
    """Return the posterior of finite networks given labels, by weighting draws from the prior.

    Networks are weighted by the density of the labels given their hidden layers,
    w = prod_i N(y_i; 0, G_AA + noise 1) with G the stochastic metric of the last layer,
    PDLT (4.70) and (6.34): p(y) = E[w] and <O> = E[w O] / E[w]. Exact at any width, so that
    noise 0 is no difficulty.

    Args:
        net: the network; its weights must be Gaussian.
        x: observed inputs, shape (N, n0).
        y: labels, shape (N, n_L), or (N,) for one output.
        x_test: inputs to predict at, shape (N_test, n0); none if None, which leaves evidence
            and hidden layers.
        noise: variance of the observation noise of every sample and component.
        samples: number of networks, at least 64.
        key: a random key, or a whole number to make one from. The same key gives the same
            numbers, and more samples continue the stream of fewer.
        method: `"chain"` draws preactivations layer by layer, cheaper when N + N_test << n;
            `"weights"` draws every weight. The law is the same.
        progress: True for a progress bar, or a function that is told (networks done, samples).
        checkpoint: a file to keep the run in; a run that was interrupted goes on from there and
            gives the same numbers to the last bit, and more samples go on from fewer.
        checkpoint_seconds: least time between two writes of that file.

    Returns:
        Mean, covariance, evidence and hidden kernels, with standard errors from a jackknife over
        64 blocks of networks (themselves known to 9 percent). Errors fall like
        1/sqrt(effective_samples), and effective_samples / samples is about exp(-M W M), with M
        the gradient of log w with respect to G and W the covariance of G: it falls exponentially
        with the number of labels at a fixed width. A network whose kernel on `x` is singular, at
        noise 0, has weight zero. Cost: that of drawing the networks, and N^2 (N + N_test) each.

    Raises:
        TypeError, ValueError: for inputs or labels of a wrong shape or not finite, a negative
            noise, weights that are not Gaussian, C_W = 0 above layer 1, an unknown method, fewer
            than 64 samples, a network that overflows, a checkpoint of another run, and labels of
            density zero or infinity: noise 0 with repeated inputs, with n_{L-1} (+ 1 if the last
            layer has a bias) below N,
            or with kernels that are singular in all networks.

    Warns:
        UserWarning: if there are fewer than 64 effective samples.

    Example:
        >>> from finitewidth.network import MLP
        >>> net = MLP(widths=(2, 16, 1), activation="relu", C_W=2.0)
        >>> p = importance_sample(net, [[1.0, 0.5]], [0.7], [[1.0, 0.5], [0.5, 1.0]], samples=512)
        >>> p.mean[0].round(9), abs(p.variance[0]).round(9)  # an observed input, without noise
        (array([0.7]), array([0.]))
    """
    inputs, y, noise = check_problem(net, x, y, x_test, noise)
    samples = check_count(samples, "samples", least=BLOCKS)
    methods = get_args(Method)
    if method not in methods:
        raise ValueError(f"method: wanted one of {', '.join(methods)}, got {method!r}.")
    check_network(net, inputs[: y.shape[0]], noise)
    key = as_key(key)
    size = _chunk_size(net, inputs.shape[0], y.shape[0], method)
    draws = WeightedDraws(net, inputs, y, jnp.asarray(noise), method, size)
    file = None if checkpoint is None else Checkpoint(checkpoint, draws.fingerprint(key))
    with progress_report(progress, samples) as report:
        _, state = fold(draws, key, samples, file, checkpoint_seconds, report)
    return _posterior(state["sums"], net.widths[-1], samples, method, noise)


class WeightedDraws(eqx.Module):
    """Networks of the prior and the weights that labels give them, chunk by chunk.

    Attributes:
        net: the network.
        inputs: observed inputs, then test inputs, shape (D, n_0).
        y: labels, shape (N, n_L).
        noise: variance of the observation noise.
        method: how networks are drawn.
        chunk_size: networks in a chunk.
        reference: None, for `ensemble.stream.fold`.
    """

    net: MLP
    inputs: Float[Array, "D n0"]
    y: Float[Array, "N n_L"]
    noise: Float[Array, ""]
    method: Method = eqx.field(static=True)
    chunk_size: int = eqx.field(static=True)
    reference: None = None

    @in_double_precision
    def __call__(
        self, key: PRNGKeyArray, number: ArrayLike, size: ArrayLike | None = None
    ) -> dict[str, WeightedSums]:
        """Return the sums of chunk `number`, or of its first `size` networks."""
        size = self.chunk_size if size is None else size
        return {"sums": _chunk(self, key, jnp.asarray(number, int), jnp.asarray(size, int))}

    def pilot(self, key: PRNGKeyArray) -> "WeightedDraws":
        """Return the same draws: they need no reference."""
        return self

    def fingerprint(self, key: PRNGKeyArray) -> dict[str, str]:
        """Return what makes a run the run it is, name by name."""
        parts = {
            "format": FORMAT,
            "run": "importance_sample",
            **network_parts(self.net),
            "inputs": digest(self.inputs),
            "y": digest(self.y),
            "noise": digest(self.noise),
            "key": key_part(key),
            "method": self.method,
            "chunk_size": self.chunk_size,
        }
        return {name: json.dumps(part) for name, part in parts.items()}


@eqx.filter_jit
def _chunk(draws: WeightedDraws, key: PRNGKeyArray, number: Array, size: Array) -> WeightedSums:
    """Return the sums of chunk `number`, a pure function of the key and that number."""
    net, count = draws.net, draws.chunk_size
    draw = draw_by_chain if draws.method == "chain" else draw_by_weights
    metric = draw(net, draws.inputs, jax.random.fold_in(key, number), count).metric
    last = condition_last_layer(metric[:, -1], draws.y, draws.noise)
    flat = last.mean.reshape(count, -1)
    C_b, C_W = (C[1:, None, None] for C in (net.C_b, net.C_W))
    features = (metric[:, 1:] - C_b) / C_W
    position = jnp.arange(count)
    return sum_over_blocks(
        last.log_weight,
        (position < size).astype(float),
        (number * count + position) % BLOCKS,
        {
            "mean": last.mean,
            "products": flat[:, :, None] * flat[:, None, :],
            "covariance": last.covariance,
            "features": features,
        },
        {"features": features},
    )


def _posterior(
    sums: WeightedSums, outputs: int, samples: int, method: str, noise: float
) -> SampledPosterior:
    total = jax.tree.map(lambda leaf: np.sum(leaf, axis=0), sums.blocks)
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(total)):
        raise ValueError(
            "net: the metric of a network is not finite: signals overflow with depth. Wanted C_W "
            "and C_b nearer to criticality, or fewer layers."
        )
    if total.weights == 0:
        raise ValueError(
            "noise: every network has a singular kernel on x, so that labels have no density; "
            f"wanted noise > 0, or inputs that the network tells apart, got noise {noise}."
        )

    def estimate(part: Sums, log_scale: Array | np.ndarray) -> Arrays:
        mean = part.weighted["mean"] / part.weights
        products = part.weighted["products"] / part.weights
        covariance = (products - np.outer(mean, mean)).reshape(*mean.shape, *mean.shape)
        own = part.weighted["covariance"] / part.weights
        covariance = covariance + np.einsum("ab,ij->aibj", own, np.eye(outputs))
        features = part.weighted["features"] / part.weights
        prior = part.plain["features"] / part.networks
        arrays = {
            "mean": mean,
            "covariance": covariance,
            "log_evidence": log_scale + np.log(part.weights / part.networks),
            "effective": samples * part.weights**2 / (part.squared_weights * part.networks),
            "feature_kernels": features,
            "prior_feature_kernels": prior,
            "feature_shift": features - prior,
        }
        return {name: np.asarray(array) for name, array in arrays.items()}

    value, error = sums.jackknife(estimate)
    effective = float(value["effective"])
    if effective < FEWEST_EFFECTIVE:
        warnings.warn(
            f"only {effective:.1f} effective networks out of {samples}: the prior hardly ever "
            "explains the labels, and the standard errors cannot be trusted. Wanted more samples, "
            "a larger noise, wider layers or fewer labels.",
            stacklevel=4,
        )
    return SampledPosterior(
        mean=value["mean"],
        mean_error=error["mean"],
        covariance=value["covariance"],
        covariance_error=error["covariance"],
        log_evidence=float(value["log_evidence"]),
        log_evidence_error=float(error["log_evidence"]),
        effective_samples=effective,
        effective_samples_error=float(error["effective"]),
        feature_kernels=value["feature_kernels"],
        feature_kernels_error=error["feature_kernels"],
        prior_feature_kernels=value["prior_feature_kernels"],
        prior_feature_kernels_error=error["prior_feature_kernels"],
        feature_shift=value["feature_shift"],
        feature_shift_error=error["feature_shift"],
        samples=samples,
        method=method,
        noise=noise,
    )


def _chunk_size(net: MLP, inputs: int, observed: int, method: Method) -> int:
    # Independent of the number of samples: a longer run continues a shorter one.
    drawn = choose_chunk_size(net, inputs, build_observables("metric"), method, None)
    outputs = (inputs - observed) * net.widths[-1]
    each = 2 * outputs**2 + 2 * net.depth * inputs**2
    return max(1, min(drawn, DEFAULT_CHUNK_NUMBERS // each))
