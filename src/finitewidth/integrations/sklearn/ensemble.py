r"""What the estimators share: scales of the data, the network, and the posterior of its ensemble.

Inputs are divided by one number, their root mean square, so that the mean of |x|^2/n_0 over the
training inputs is 1: the size that critical tuning is made for, with all angles kept. Targets have
their mean and standard deviation taken off. The network then sees numbers of order one whatever
the units of the data are.
"""

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from finitewidth import bayes
from finitewidth.activations import Activation
from finitewidth.bayes import InfiniteWidthPosterior
from finitewidth.network import MLP
from finitewidth.validation import check_count

#: Of rounding, relative to the noise-free variance; below it a direction counts as certain.
CERTAIN = 1e-12


class Prediction(NamedTuple):
    """Mean and variance of the outputs, each of shape (N_test, outputs)."""

    mean: Float[np.ndarray, "N_test n_L"]
    variance: Float[np.ndarray, "N_test n_L"]


class EnsembleOfNetworks(BaseEstimator):
    """An ensemble of networks that is conditioned on labels; the base of all estimators here.

    Its subclasses say what the labels are. Their parameters are described there.
    """

    activation: str | Activation | Callable
    depth: int
    C_b: float | Sequence[float] | None
    C_W: float | Sequence[float] | None
    noise: float | str
    scale_x: bool

    def _checked_labels(
        self, X: ArrayLike, y: ArrayLike, **options: bool
    ) -> tuple[Float[np.ndarray, "N n0"], np.ndarray]:
        """Return what `fit` was given as arrays, or say what is wrong with it."""
        # scikit-learn marks an argument that is left out by a string, and its type is taken for it.
        return validate_data(self, X, y, dtype=np.float64, **options)  # type: ignore

    def _checked(self, X: ArrayLike) -> Float[np.ndarray, "N_test n0"]:
        """Return test inputs as an array, or say what is wrong with them."""
        check_is_fitted(self)
        return validate_data(self, X, dtype=np.float64, reset=False)  # type: ignore

    def _learn(self, X: Float[np.ndarray, "N n0"], y: Float[np.ndarray, "N n_L"]) -> None:
        """Set scales, network, noise and posterior from checked arrays."""
        size = float(np.sqrt(np.mean(X**2))) if self.scale_x else 1.0
        # Inputs that all vanish have no size to divide by.
        self.x_scale_ = size if size > 0 else 1.0
        self.X_train_ = X / self.x_scale_
        self.y_train_ = y
        self.network_ = _in_numpy(self._network(X.shape[1], y.shape[1]))
        learned = bayes.infinite_width_posterior(
            self.network_, self.X_train_, y, _variance(self.noise)
        )
        self.posterior_: InfiniteWidthPosterior = _in_numpy(learned)
        self.noise_ = float(self.posterior_.noise)
        self.log_evidence_ = float(self.posterior_.log_evidence)

    def _network(self, features: int, outputs: int) -> MLP:
        depth = check_count(self.depth, "depth")
        widths = (features, *(self._hidden_width(),) * (depth - 1), outputs)
        if self.C_b is None and self.C_W is None:
            net = MLP.critical(widths, self.activation)
            # Without a bias on the inputs the functions of a scale-invariant network are
            # homogeneous: they cannot tell x from 2 x. It does not touch criticality above.
            first = max(float(net.C_b[0]), 1.0)
            return MLP(widths, self.activation, np.array([first, *net.C_b[1:].tolist()]), net.C_W)
        if self.C_b is None or self.C_W is None:
            raise ValueError(
                "C_b, C_W: wanted both, or neither for the critical ones, got "
                f"C_b={self.C_b!r}, C_W={self.C_W!r}."
            )
        return MLP(widths, self.activation, np.asarray(self.C_b), np.asarray(self.C_W))

    def _hidden_width(self) -> int:
        """Return any width: that of an infinitely wide network does not matter."""
        return 1

    def _scaled(self, X: Float[np.ndarray, "N_test n0"]) -> Float[np.ndarray, "N_test n0"]:
        return X / self.x_scale_

    def _predicted(self, X: Float[np.ndarray, "N_test n0"]) -> Prediction:
        """Return mean and variance of the outputs at checked inputs."""
        mean, variance = self.posterior_.mean_and_variance(self._scaled(X))
        shared = np.broadcast_to(np.asarray(variance)[:, None], mean.shape)
        return Prediction(np.asarray(mean), shared)

    def _mean(self, X: Float[np.ndarray, "N_test n0"]) -> Float[np.ndarray, "N_test n_L"]:
        """Return the mean alone, which at infinite width is cheaper."""
        return np.asarray(self.posterior_.mean(self._scaled(X)))

    def _joint(
        self, X: Float[np.ndarray, "N_test n0"]
    ) -> tuple[Float[np.ndarray, "N_test n_L"], Float[np.ndarray, "N_test n_L N_test n_L"]]:
        """Return the mean and the covariance of all outputs at all inputs."""
        inputs = self._scaled(X)
        mean = np.asarray(self.posterior_.mean(inputs))
        own = np.asarray(self.posterior_.covariance(inputs))
        return mean, np.einsum("ab,ij->aibj", own, np.eye(mean.shape[1]))


class FiniteWidthEnsemble(EnsembleOfNetworks):
    """The same with hidden layers of width n, to first order in 1/n."""

    n: float
    random_state: int | np.random.RandomState | None

    def _hidden_width(self) -> int:
        return 1 if math.isinf(self._width()) else int(self._width())

    def _width(self) -> float:
        if self.n == math.inf:
            return math.inf
        return check_count(self.n, "n")  # type: ignore[arg-type]

    def _predicted(self, X: Float[np.ndarray, "N_test n0"]) -> Prediction:
        if math.isinf(self._width()):
            return super()._predicted(X)
        # Few inputs have exact entries wherever no third one is involved: inputs that were
        # learned are asked for by themselves, and do not depend on their company.
        inputs = self._scaled(X)
        known = _are_among(inputs, self.X_train_)
        shape = (len(inputs), self.y_train_.shape[1])
        mean, variance = np.empty(shape), np.empty(shape)
        for these in (known, ~known):
            if these.any():
                found = self._posterior(inputs[these])
                mean[these], variance[these] = found.mean, found.variance
        # To first order in 1/n a small variance may be shifted below nothing.
        return Prediction(mean, np.maximum(variance, 0.0))

    def _mean(self, X: Float[np.ndarray, "N_test n0"]) -> Float[np.ndarray, "N_test n_L"]:
        return super()._mean(X) if math.isinf(self._width()) else self._predicted(X).mean

    def _joint(
        self, X: Float[np.ndarray, "N_test n0"]
    ) -> tuple[Float[np.ndarray, "N_test n_L"], Float[np.ndarray, "N_test n_L N_test n_L"]]:
        if math.isinf(self._width()):
            return super()._joint(X)
        found = self._posterior(self._scaled(X))
        return np.asarray(found.mean), np.asarray(found.full_covariance())

    def _posterior(self, inputs: Float[np.ndarray, "N_test n0"]) -> bayes.Posterior:
        key = check_random_state(self.random_state).randint(2**31 - 1)
        return bayes.posterior(
            self.network_, self.X_train_, self.y_train_, inputs, self.noise_, order=1, key=key
        )


def draw_functions(
    mean: Float[np.ndarray, "N_test n_L"],
    covariance: Float[np.ndarray, "N_test n_L N_test n_L"],
    count: int,
    random: np.random.RandomState,
) -> Float[np.ndarray, "count N_test n_L"]:
    """Draw outputs of networks, normal with this mean and covariance, (count, N_test, n_L)."""
    size = mean.size
    values, vectors = np.linalg.eigh(covariance.reshape(size, size))
    # What is negative is rounding, or an order of 1/n that is not kept.
    scale = np.sqrt(np.where(values > CERTAIN * max(values[-1], 0.0), values, 0.0))
    drawn = random.standard_normal((count, size)) @ (vectors * scale).T
    return mean + drawn.reshape(count, *mean.shape)


def _in_numpy(tree: Any) -> Any:
    """Return the same with NumPy arrays: those of JAX come out of a pickle in single precision."""
    return jax.tree.map(np.asarray, tree)


def _variance(noise: float | str) -> float | None:
    """Return a variance, or None for the one of the largest evidence."""
    if isinstance(noise, str) and noise == "evidence":
        return None
    if isinstance(noise, Real) and math.isfinite(noise) and float(noise) >= 0:
        return float(noise)
    raise ValueError(f"noise: wanted 'evidence' or a variance, finite and >= 0, got {noise!r}.")


def _are_among(
    some: Float[np.ndarray, "M n0"], these: Float[np.ndarray, "N n0"]
) -> Float[np.ndarray, " M"]:
    """Tell which rows of `some` are rows of `these`, to the last digit."""
    known = {row.tobytes() for row in np.ascontiguousarray(these)}
    return np.array([row.tobytes() in known for row in np.ascontiguousarray(some)], dtype=bool)
