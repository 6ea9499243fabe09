r"""What ensembles of infinitely wide networks predict after training.

With R of `learning.smoother` and P = [-R 1] on (A, B), each output is an independent Gaussian
process, the generalized posterior

    m_i = R y_i                                                            PDLT (10.40)
    C   = K_BB - R K_AB - K_BA R^T + R K_AA R^T = P K_DD P^T               PDLT (10.41)

C is the congruence with P, known to rounding of K. Any algorithm that moves outputs by Theta times
something and brings the training loss to zero ends there, PDLT (10.35); Theta = K gives exact
Bayesian inference, PDLT (10.46)-(10.49).

Statistics of real networks approach this like 1/width for smooth activations and like
1/sqrt(width) for kinked ones; a single network is 1/sqrt(width) away from its own `giant_leap`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from finitewidth.flow.neuron_noise import covariance_root
from finitewidth.learning.frozen_kernels import Rule, check_tests, frozen_kernels
from finitewidth.learning.smoother import check_duration, smoother
from finitewidth.network import MLP
from finitewidth.network.losses import check_targets, mean_squared_error
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count, check_inputs


class Prediction(eqx.Module):
    """The outputs of an ensemble of trained networks, Gaussian and independent of each other.

    Attributes:
        net: the network.
        mean: m at the test inputs, shape (N_test, n_L).
        covariance: C of each output over networks, PDLT (10.41), shape (N_test, N_test).
        smoother: R, what each label adds to each prediction, shape (N_test, N).
        rule: "ntk" or "bayes".
        training: how long, in words.
        order: 0, the limit of infinite width.
    """

    net: MLP
    mean: Float[Array, "N_test n_L"]
    covariance: Float[Array, "N_test N_test"]
    smoother: Float[Array, "N_test N"]
    rule: str = eqx.field(static=True)
    training: str = eqx.field(static=True)
    order: int = eqx.field(static=True, default=0)

    @property
    @in_double_precision
    def standard_deviation(self) -> Float[Array, " N_test"]:
        """Of each output over networks, shape (N_test,)."""
        # Rounding may leave less than nothing where a label was learned exactly.
        return jnp.sqrt(jnp.maximum(jnp.diagonal(self.covariance), 0.0))

    @in_double_precision
    def band(self, deviations: float = 2.0) -> tuple[Array, Array]:
        """Return mean minus and plus so many standard deviations.

        Args:
            deviations: half the width of the band; 2 holds 95 % of the networks at each input.

        Returns:
            Lower and upper end, each (N_test, n_L).
        """
        spread = deviations * self.standard_deviation[:, None]
        return self.mean - spread, self.mean + spread

    @in_double_precision
    def sample(self, key: PRNGKeyArray, count: int) -> Float[Array, "count N_test n_L"]:
        """Draw outputs of trained networks without training any, PDLT (10.39).

        Args:
            key: a JAX random key.
            count: how many networks.

        Returns:
            Outputs at the test inputs, shape (count, N_test, n_L).
        """
        count = check_count(count, "count")
        noise = jax.random.normal(key, (count, *self.mean.shape), dtype=float)
        return self.mean + _root(self.covariance) @ noise

    def to_xarray(self) -> xr.Dataset:
        """Return mean, standard deviation, covariance and smoother as a labelled data set."""
        return xr.Dataset(
            {
                "mean": (("test", "output"), np.asarray(self.mean)),
                "standard_deviation": (("test",), np.asarray(self.standard_deviation)),
                "covariance": (("test", "test_2"), np.asarray(self.covariance)),
                "smoother": (("test", "train"), np.asarray(self.smoother)),
            },
            attrs={
                "network": repr(self.net),
                "rule": self.rule,
                "training": self.training,
                "order": self.order,
            },
        )

    def __repr__(self) -> str:
        tests, outputs = self.mean.shape
        return (
            f"Prediction of infinitely wide networks at {tests} test inputs, {outputs} outputs, "
            f"rule {self.rule}, {self.training}: standard deviation up to "
            f"{float(self.standard_deviation.max()):.4g}"
        )


@in_double_precision
def predict(
    net: MLP,
    x: Float[ArrayLike, "N n0"],
    y: Float[ArrayLike, "N n_L"],
    x_test: Float[ArrayLike, "N_test n0"],
    *,
    rule: Rule = "ntk",
    steps: int | None = None,
    eta: ArrayLike | None = None,
    time: ArrayLike | None = None,
    order: int = 0,
) -> Prediction:
    """Predict what infinitely wide networks say after training on the squared error.

    PDLT (10.40), (10.41); with `steps` or `time` before the end of training.

    Args:
        net: the network, with its learning rates lambda_b, lambda_W. Widths do not matter.
        x: training inputs, shape (N, n_0).
        y: targets, shape (N, n_L), or (N,) for one output.
        x_test: test inputs, shape (N_test, n_0).
        rule: "ntk" to train all layers, "bayes" for exact Bayesian inference without noise.
        steps: number T of steps of full-batch gradient descent; all the way if None.
        eta: their learning rate, at most 2/lambda_max(Theta_AA).
        time: instead of steps, eta t of gradient flow.
        order: 0, the limit of infinite width.

    Returns:
        Mean and covariance over the ensemble.

    Raises:
        TypeError, ValueError: for bad data, a Theta_AA that is singular in full training (equal
            inputs are named), an eta that makes gradient descent diverge, or an order that is not
            0.

    Accuracy: rounding, times the condition number of Theta_AA when fully trained.

    Cost: kernel and NTK of N + N_test inputs, O(N^3) for a root, O(N_test N^2)
        for the covariance.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP.critical((2, 100, 100, 1), "tanh")
        >>> x, y = [[1.0, 0.0], [0.0, 1.0]], [1.0, -0.5]
        >>> trained = predict(net, x, y, [[1.0, 0.0], [0.7, 0.7]])
        >>> [round(float(value), 6) for value in trained.mean[0]]  # it has learned its labels
        [1.0]
        >>> trained.standard_deviation.round(4).tolist()
        [0.0, 0.1422]
        >>> untrained = predict(net, x, y, [[1.0, 0.0]], steps=0, eta=0.1)
        >>> float(untrained.mean[0, 0])
        0.0
    """
    if order != 0:
        raise ValueError(f"order: wanted 0, the limit of infinite width, got {order!r}.")
    x, x_test = check_inputs(x, net.widths[0]), check_tests(net, x_test)
    y = check_targets(y, x.shape[0], net.widths[-1], mean_squared_error)
    duration = check_duration(steps, eta, time)
    kernels = frozen_kernels(net, x, x_test, rule)
    R = smoother(kernels, duration, x, y)
    P = jnp.concatenate([-R, jnp.eye(x_test.shape[0])], axis=1)
    C = P @ kernels.kernel @ P.T
    return Prediction(net, R @ y, (C + C.T) / 2, R, rule, str(duration), order)


_root = jax.jit(covariance_root)
