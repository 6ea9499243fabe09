r"""The posterior of real networks by a Markov chain over their weights (NUTS, Hoffman & Gelman).

With whitened weights $\theta$, $b = \sqrt{C_b}\,\theta_b$ and $W = \sqrt{C_W/n_{\ell-1}}\,\theta_W$
of the hidden layers, and the last layer integrated out, the density that is sampled is

$$\log p(\theta|y) = -\tfrac12|\theta|^2 + \sum_i\log N\big(y_i; 0, \widehat G_{AA}(\theta)
+ \sigma_\varepsilon^2 1\big) + \text{const},$$

and $m$ and $\mathbb K$ of `last_layer`, averaged over the chain, are the posterior. A chain goes
where the labels pull it, so that it works where weighted draws from the prior are hopeless.
"""

import warnings
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray

from finitewidth.bayes.sampling.arguments import check_network, check_problem
from finitewidth.bayes.sampling.last_layer import LastLayer, condition_last_layer
from finitewidth.bayes.sampling.posterior import SampledMoments
from finitewidth.ensemble.draw import gram
from finitewidth.ensemble.measure import as_key
from finitewidth.ensemble.stream import ProgressReport, progress_report
from finitewidth.network import MLP, Layer
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count

LARGEST_R_HAT = 1.05

#: Steps between two reports of the progress.
STEPS_AT_ONCE = 100


class ChainPosterior(SampledMoments):
    """Posterior of real networks from Markov chains; errors know how far draws are independent.

    Attributes beside those of `SampledMoments`:
        effective_samples: the smallest effective number of draws of the log density of the
            labels, the outputs and the kernels. (Weights themselves can be permuted, and do not
            count.)
        r_hat: the largest Gelman-Rubin ratio of the same numbers, 1 if the chains agree.
        divergences: number of divergent transitions, 0 if all is well.
        chains: number of chains.
        samples: draws kept of every chain.
        noise: variance of the observation noise.
    """

    effective_samples: float
    r_hat: float
    divergences: int = eqx.field(static=True)
    chains: int = eqx.field(static=True)
    samples: int = eqx.field(static=True)
    noise: float = eqx.field(static=True)

    def __repr__(self) -> str:
        tests, outputs = self.mean.shape
        return (
            f"ChainPosterior({tests} test inputs, {outputs} outputs, noise {self.noise:.3g}, "
            f"{self.chains} chains of {self.samples}, {self.effective_samples:.0f} effective, "
            f"R-hat {self.r_hat:.3f}, {self.divergences} divergences)"
        )


@in_double_precision
def nuts_sample(
    net: MLP,
    x: Float[ArrayLike, "N n0"],
    y: Float[ArrayLike, "N n_L"],
    x_test: Float[ArrayLike, "N_test n0"] | None = None,
    noise: float = 0.0,
    samples: int = 1000,
    key: int | PRNGKeyArray = 0,
    *,
    chains: int = 4,
    warmup: int = 500,
    progress: bool | ProgressReport = False,
) -> ChainPosterior:
    """Return the posterior of finite networks given labels, by NUTS over their hidden weights.

    Args:
        net: the network, with Gaussian weights and at least one hidden layer.
        x: observed inputs, shape (N, n0).
        y: labels, shape (N, n_L), or (N,) for one output.
        x_test: inputs to predict at, shape (N_test, n0); none if None.
        noise: variance of the observation noise of every sample and component; without any, a few
            transitions may diverge where the kernel is nearly singular.
        samples: draws to keep of every chain, at least 100.
        key: a random key, or a whole number to make one from. More samples continue the chains
            of fewer.
        chains: number of chains, at least 2, each started at a draw from the prior.
        warmup: steps of every chain to adapt step size and mass matrix, which are thrown away.
        progress: True for a progress bar, or a function that is told (draws, draws of all chains).

    Returns:
        Mean, covariance and hidden kernels with standard errors, and how well the chains mixed.
        No evidence: a chain does not know it (`importance_sample` does). Cost: up to 1023
        gradients a step, all chains at once; compiling takes about ten seconds.

    Raises:
        TypeError, ValueError: as `importance_sample`, and for a network without hidden layers.

    Warns:
        UserWarning: if chains disagree (R-hat above 1.05) or transitions diverged.

    Example:
        >>> from finitewidth.network import MLP, Layer
        >>> net = MLP(widths=(2, 4, 1), activation="tanh", C_b=0.1, C_W=1.8)
        >>> x, x_test = [[1.0, 0.3], [-0.2, 1.1], [0.6, -0.8]], [[1.0, -1.0], [0.3, 0.2]]
        >>> p = nuts_sample(net, x, [1.6, -0.9, 0.4], x_test, 0.1, 1000, key=1, warmup=300)
        >>> p.mean.shape, p.feature_kernels.shape, p.r_hat < 1.05
        ((2, 1), (1, 5, 5), True)
    """
    inputs, y, noise = check_problem(net, x, y, x_test, noise)
    if net.depth < 2:
        raise ValueError(
            "net: wanted at least one hidden layer, whose weights the chain moves; without one "
            "`importance_sample` is exact."
        )
    check_network(net, inputs[: y.shape[0]], noise)
    samples = check_count(samples, "samples", least=100)
    chains = check_count(chains, "chains", least=2)
    warmup = check_count(warmup, "warmup", least=20)
    arguments = (net, inputs, y, jnp.asarray(noise), as_key(key))
    parts = []
    with progress_report(progress, chains * samples) as report:
        report(0, chains * samples)
        running = _warm_up(*arguments, chains, warmup)
        for first in range(0, samples, STEPS_AT_ONCE):
            running, drawn = _draw(running, jnp.asarray(first), STEPS_AT_ONCE)
            parts.append(jax.device_get(drawn))
            report(chains * min(first + STEPS_AT_ONCE, samples), chains * samples)
    # The last steps beyond what was asked for keep one compiled function for all runs.
    last, features, divergent = jax.tree.map(
        lambda *part: np.concatenate(part, axis=1)[:, :samples], *parts
    )
    return _summary(last, features, int(divergent.sum()), noise)


def _last_layer(
    net: MLP,
    inputs: Float[Array, "D n0"],
    y: Float[Array, "N n_L"],
    noise: Float[Array, ""],
    position: Float[Array, " P"],
) -> tuple[LastLayer, Float[Array, "H D D"]]:
    """Return what the labels say of one network, and its hidden kernels."""
    layers, used = [], 0
    for layer, (n_in, n_out) in enumerate(zip(net.widths[:-2], net.widths[1:-1], strict=True)):
        b = jnp.sqrt(net.C_b[layer]) * position[used : used + n_out]
        used += n_out
        unit = position[used : used + n_out * n_in].reshape(n_out, n_in)
        used += n_out * n_in
        layers.append(Layer(b, jnp.sqrt(net.C_W[layer] / n_in) * unit))
    hidden = net.preactivations(tuple(layers), inputs)
    features = [gram(jnp.zeros(()), jnp.ones(()), net.activation(z)) for z in hidden]
    metric = net.C_b[-1] + net.C_W[-1] * features[-1]
    last = condition_last_layer(metric[None], y, noise)
    return jax.tree.map(lambda leaf: leaf[0], last), jnp.stack(features)


class Chains(eqx.Module):
    """Chains that have found their step size and mass matrix; a leading axis for the chain.

    Attributes:
        net: the network.
        inputs: observed inputs, then test inputs.
        y: labels.
        noise: variance of the observation noise.
        state: where each chain is.
        parameters: step size and inverse mass matrix of each chain.
        keys: of the steps of each chain.
    """

    net: MLP
    inputs: Float[Array, "D n0"]
    y: Float[Array, "N n_L"]
    noise: Float[Array, ""]
    state: Any
    parameters: dict[str, Array]
    keys: PRNGKeyArray


def _log_density(
    net: MLP, observed: Float[Array, "N n0"], y: Float[Array, "N n_L"], noise: Float[Array, ""]
) -> Callable[[Array], Array]:
    def log_density(position: Array) -> Array:
        last, _ = _last_layer(net, observed, y, noise, position)
        return last.log_weight - 0.5 * position @ position

    return log_density


@eqx.filter_jit
def _warm_up(
    net: MLP,
    inputs: Float[Array, "D n0"],
    y: Float[Array, "N n_L"],
    noise: Float[Array, ""],
    key: PRNGKeyArray,
    chains: int,
    warmup: int,
) -> Chains:
    """Start chains at draws from the prior and adapt them."""
    import blackjax  # slow to import, and nothing else needs it

    size = sum((m + 1) * n for m, n in zip(net.widths[:-2], net.widths[1:-1], strict=True))
    log_density = _log_density(net, inputs[: y.shape[0]], y, noise)

    def chain(chain_key: PRNGKeyArray) -> tuple[Any, dict[str, Array], PRNGKeyArray]:
        start_key, warmup_key, run_key = jax.random.split(chain_key, 3)
        adaptation: Any = blackjax.window_adaptation(blackjax.nuts, log_density)
        start = jax.random.normal(start_key, (size,))
        (state, parameters), _ = adaptation.run(warmup_key, start, num_steps=warmup)
        return state, parameters, run_key

    state, parameters, keys = jax.vmap(chain)(jax.random.split(key, chains))
    return Chains(net, inputs, y, noise, state, parameters, keys)


@eqx.filter_jit
def _draw(
    chains: Chains, first: Int[Array, ""], count: int
) -> tuple[Chains, tuple[LastLayer, Float[Array, "chains count H D D"], Array]]:
    """Take `count` steps with every chain; step k has the key number k of its chain."""
    import blackjax

    problem = (chains.net, chains.inputs, chains.y, chains.noise)
    log_density = _log_density(chains.net, chains.inputs[: chains.y.shape[0]], *problem[2:])

    def chain(state: Any, parameters: dict[str, Array], key: PRNGKeyArray) -> tuple[Any, Any]:
        kernel: Any = blackjax.nuts(log_density, **parameters).step

        def step(state: Any, number: Array) -> tuple[Any, tuple[Array, Array]]:
            state, info = kernel(jax.random.fold_in(key, number), state)
            return state, (state.position, info.is_divergent)

        state, (positions, divergent) = jax.lax.scan(step, state, first + jnp.arange(count))
        last, features = jax.vmap(lambda p: _last_layer(*problem, p))(positions)
        return state, (last, features, divergent)

    state, drawn = jax.vmap(chain)(chains.state, chains.parameters, chains.keys)
    return eqx.tree_at(lambda c: c.state, chains, state), drawn


def _summary(
    last: LastLayer, features: Float[np.ndarray, "C S H D D"], divergences: int, noise: float
) -> ChainPosterior:
    from blackjax.diagnostics import effective_sample_size, potential_scale_reduction

    means = np.asarray(last.mean)
    mean = np.mean(means, axis=(0, 1))
    shifts = means - mean
    own = np.einsum("csab,ij->csaibj", last.covariance, np.eye(mean.shape[1]))
    # The mean of these is the covariance, and their spread its error to first order.
    covariances = np.einsum("csai,csbj->csaibj", shifts, shifts) + own
    watched = np.concatenate(
        [q.reshape(*q.shape[:2], -1) for q in (last.log_weight, means, features)], axis=-1
    )
    moving = watched[..., np.ptp(watched, axis=(0, 1)) > 1e-9 * np.abs(watched).max(axis=(0, 1))]
    r_hat = float(np.max(potential_scale_reduction(moving)))
    if not r_hat < LARGEST_R_HAT or divergences:
        warnings.warn(
            f"the chains may not have found the posterior: R-hat {r_hat:.3f}, {divergences} "
            "divergent transitions. Wanted a longer warmup, more samples or a larger noise.",
            stacklevel=4,
        )
    return ChainPosterior(
        mean=mean,
        mean_error=_error(means),
        covariance=np.mean(covariances, axis=(0, 1)),
        covariance_error=_error(covariances),
        feature_kernels=np.mean(features, axis=(0, 1)),
        feature_kernels_error=_error(features),
        effective_samples=float(np.min(effective_sample_size(moving))),
        r_hat=r_hat,
        divergences=divergences,
        chains=features.shape[0],
        samples=features.shape[1],
        noise=noise,
    )


def _error(draws: Float[np.ndarray, "chains samples ..."]) -> Float[np.ndarray, "..."]:
    """Return the standard error of the mean of correlated draws; 0 where they do not move."""
    from blackjax.diagnostics import effective_sample_size

    spread = np.std(draws, axis=(0, 1))
    if spread.size == 0:
        return spread
    flat = draws.reshape(*draws.shape[:2], -1)
    effective = np.asarray(effective_sample_size(flat)).reshape(spread.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread > 0, spread / np.sqrt(effective), 0.0)
