"""Regression with ensembles of networks, PDLT chapter 6, as scikit-learn regressors.

`InfiniteWidthRegressor` is Gaussian regression with the kernel of a network, PDLT (6.57), (6.64);
`FiniteWidthRegressor` adds the first order in 1/width, (6.88), and becomes the other as n grows.
"""

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.utils import check_random_state

from finitewidth.activations import Activation
from finitewidth.integrations.sklearn.ensemble import (
    EnsembleOfNetworks,
    FiniteWidthEnsemble,
    draw_functions,
)
from finitewidth.validation import check_count


class InfiniteWidthRegressor(MultiOutputMixin, RegressorMixin, EnsembleOfNetworks):
    """Regression with infinitely wide networks, PDLT (6.57), (6.64).

    Args:
        activation: name, `Activation` or JAX function.
        depth: number of layers, the output included; 1 is a linear model.
        C_b: bias variance, one number or one per layer; critical if neither it nor C_W is given,
            with a bias of variance 1 on the inputs.
        C_W: weight variance, likewise.
        noise: variance of the observation noise, in units of the variance of the targets if
            `normalize_y`; `"evidence"` for the most probable one.
        scale_x: divide the inputs by their root mean square over the training set. Features of
            different units want a `StandardScaler` before that.
        normalize_y: take mean and standard deviation off the targets.

    Attributes:
        network_: the network, an `MLP`; its hidden widths do not matter.
        noise_: variance of the noise, in the units of `noise`.
        log_evidence_: log density of the normalized targets.
        posterior_: the posterior behind it, `bayes.InfiniteWidthPosterior`.
        n_features_in_: number of features.

    Raises:
        ValueError, TypeError: from `fit`, for parameters or data that make no sense.

    Accuracy: that of the kernel, 1e-10 or better, times the condition number of kernel plus noise.

    Cost: `fit` the kernel of N inputs and two O(N^3) factorizations; `predict` N pair expectations
    a layer for each input, with `return_std` also N^2.

    Example:
        >>> import numpy as np
        >>> from finitewidth.integrations.sklearn import InfiniteWidthRegressor
        >>> x = np.linspace(-2, 2, 20)[:, None]
        >>> model = InfiniteWidthRegressor("relu", depth=3, noise=1e-4).fit(x, np.sin(2 * x[:, 0]))
        >>> mean, std = model.predict([[0.5]], return_std=True)
        >>> bool(abs(mean[0] - np.sin(1.0)) < 0.05), std.shape
        (True, (1,))
    """

    def __init__(
        self,
        activation: str | Activation | Callable = "relu",
        depth: int = 3,
        C_b: float | Sequence[float] | None = None,
        C_W: float | Sequence[float] | None = None,
        noise: float | str = "evidence",
        scale_x: bool = True,
        normalize_y: bool = True,
    ):
        self.activation = activation
        self.depth = depth
        self.C_b = C_b
        self.C_W = C_W
        self.noise = noise
        self.scale_x = scale_x
        self.normalize_y = normalize_y

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Condition the ensemble on targets.

        Args:
            X: inputs, shape (N, n_0).
            y: targets, shape (N,) or (N, outputs).

        Returns:
            The estimator itself.
        """
        inputs, y = self._checked_labels(X, y, multi_output=True, y_numeric=True)
        targets = np.asarray(y, dtype=float)
        self._one_output = targets.ndim == 1
        targets = targets.reshape(len(targets), -1)
        self.y_mean_ = np.zeros(targets.shape[1])
        self.y_scale_ = np.ones(targets.shape[1])
        if self.normalize_y:
            spread = targets.std(axis=0)
            self.y_mean_ = targets.mean(axis=0)
            self.y_scale_ = np.where(spread > 0, spread, 1.0)
        self._learn(inputs, (targets - self.y_mean_) / self.y_scale_)
        return self

    def predict(self, X: ArrayLike, return_std: bool = False, return_cov: bool = False) -> Any:
        """Predict targets, with the spread over networks if asked for.

        Args:
            X: inputs, shape (N_test, n_0).
            return_std: also return the standard deviation of the function, without noise.
            return_cov: also return the covariance of the function between the inputs.

        Returns:
            The mean, shape (N_test,) or (N_test, outputs); with `return_std` and the standard
            deviation of the same shape; with `return_cov` and the covariance, shape
            (N_test, N_test) or (N_test, N_test, outputs).

        Raises:
            ValueError: if both spreads are asked for.
        """
        if return_std and return_cov:
            raise ValueError("return_std, return_cov: wanted one of them, got both.")
        inputs = self._checked(X)
        if return_cov:
            mean, joint = self._joint(inputs)
            own = np.einsum("aibi->abi", joint) * self.y_scale_**2
            return self._shaped(self._in_units(mean)), self._shaped(own)
        if not return_std:
            return self._shaped(self._in_units(self._mean(inputs)))
        mean, variance = self._predicted(inputs)
        return (
            self._shaped(self._in_units(mean)),
            self._shaped(np.sqrt(variance) * self.y_scale_),
        )

    def sample_y(
        self,
        X: ArrayLike,
        n_samples: int = 1,
        random_state: int | np.random.RandomState | None = 0,
    ) -> np.ndarray:
        """Draw functions of the posterior.

        Args:
            X: inputs, shape (N_test, n_0).
            n_samples: how many functions.
            random_state: seed or state of the draws.

        Returns:
            Values, shape (N_test, n_samples) or (N_test, outputs, n_samples).
        """
        count = check_count(n_samples, "n_samples")
        inputs = self._checked(X)
        drawn = draw_functions(*self._joint(inputs), count, check_random_state(random_state))
        values = np.moveaxis(self._in_units(drawn), 0, -1)
        return values[:, 0] if self._one_output else values

    def _in_units(self, values: Float[np.ndarray, "*shape n_L"]) -> Float[np.ndarray, "*shape n_L"]:
        return self.y_mean_ + self.y_scale_ * values

    def _shaped(self, values: np.ndarray) -> np.ndarray:
        return values[..., 0] if self._one_output else values


class FiniteWidthRegressor(FiniteWidthEnsemble, InfiniteWidthRegressor):
    """Regression with networks of width n, to first order in 1/n, PDLT (6.83)-(6.89).

    Outputs are wired together: `sample_y` knows it. As n grows, or with n = inf, this is
    `InfiniteWidthRegressor`. The noise is that of the largest evidence at infinite width if it is
    to be found.

    Args:
        n: width of every hidden layer, a whole number or inf.
        activation: as for `InfiniteWidthRegressor`, like all that follow.
        depth: number of layers, the output included.
        C_b: bias variance.
        C_W: weight variance.
        noise: variance of the observation noise, or `"evidence"`.
        scale_x: divide the inputs by their root mean square.
        normalize_y: take mean and standard deviation off the targets.
        random_state: seed of the neurons that are drawn for more than 48 inputs, training and
            test together.

    Attributes:
        network_: the network, an `MLP`.
        noise_: variance of the noise.
        log_evidence_: log density of the normalized targets at infinite width.
        n_features_in_: number of features.

    Warns:
        ExpansionWarning: from `predict`, if the width is too small for the number of targets to be
            trusted.

    Cost: of `predict`, that of `bayes.posterior` on training and test inputs together.

    Example:
        >>> import numpy as np
        >>> from finitewidth.integrations.sklearn import FiniteWidthRegressor
        >>> x = np.array([[-1.0], [0.3], [1.2]])
        >>> model = FiniteWidthRegressor(n=1000, activation="relu", noise=0.1).fit(x, x[:, 0] ** 2)
        >>> mean, std = model.predict(x, return_std=True)
        >>> mean.shape, bool((std > 0).all())
        ((3,), True)
    """

    def __init__(
        self,
        n: float = 1000,
        activation: str | Activation | Callable = "relu",
        depth: int = 3,
        C_b: float | Sequence[float] | None = None,
        C_W: float | Sequence[float] | None = None,
        noise: float | str = "evidence",
        scale_x: bool = True,
        normalize_y: bool = True,
        random_state: int | np.random.RandomState | None = 0,
    ):
        super().__init__(activation, depth, C_b, C_W, noise, scale_x, normalize_y)
        self.n = n
        self.random_state = random_state
