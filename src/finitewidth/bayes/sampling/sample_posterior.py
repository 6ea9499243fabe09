r"""The posterior of real networks, by weighted draws from the prior or by a Markov chain.

$$p(\theta|y) = \frac{p(y|\theta)\,p(\theta)}{p(y)},\qquad \text{PDLT (6.14)}.$$
"""

from typing import Any, Literal

from jaxtyping import ArrayLike, Float

from finitewidth.bayes.sampling.importance import importance_sample
from finitewidth.bayes.sampling.nuts import ChainPosterior, nuts_sample
from finitewidth.bayes.sampling.posterior import SampledPosterior
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision


@in_double_precision
def sample_posterior(
    net: MLP,
    x: Float[ArrayLike, "N n0"],
    y: Float[ArrayLike, "N n_L"],
    x_test: Float[ArrayLike, "N_test n0"] | None = None,
    noise: float = 0.0,
    method: Literal["importance", "nuts"] = "importance",
    **options: Any,
) -> SampledPosterior | ChainPosterior:
    """Return the posterior of finite networks given labels, sampled.

    Args:
        net: the network, with Gaussian weights.
        x: observed inputs, shape (N, n0).
        y: labels, shape (N, n_L), or (N,) for one output.
        x_test: inputs to predict at, shape (N_test, n0); none if None.
        noise: variance of the observation noise of every sample and component.
        method: `"importance"` weights independent draws from the prior and knows the evidence:
            for wide networks and few labels. `"nuts"` runs Markov chains over hidden weights: for
            narrow networks and many labels.
        options: further arguments of `importance_sample` or `nuts_sample`.

    Returns:
        What `importance_sample` or `nuts_sample` return; both have `mean`, `covariance`,
        `variance` and `feature_kernels` with errors, and `effective_samples`.

    Raises:
        TypeError, ValueError: as these two, and for an unknown method.

    Example:
        >>> from finitewidth.network import MLP
        >>> net = MLP(widths=(2, 16, 1), activation="tanh", C_b=0.1, C_W=1.5)
        >>> sample_posterior(net, [[1.0, 0.5]], [0.7], [[0.5, 1.0]], 0.1, samples=512).mean.shape
        (1, 1)
    """
    if method == "importance":
        return importance_sample(net, x, y, x_test, noise, **options)
    if method == "nuts":
        return nuts_sample(net, x, y, x_test, noise, **options)
    raise ValueError(f"method: wanted 'importance' or 'nuts', got {method!r}.")
