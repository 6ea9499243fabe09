"""Classification by regression on one-hot labels, one output a class, centred.

The label of class k among c is 1 - 1/c in output k and -1/c in the others, so that a network that
has seen nothing prefers no class; the prediction is the largest mean output.
"""

from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets

from finitewidth.activations import Activation
from finitewidth.data import centred_one_hot
from finitewidth.integrations.sklearn.ensemble import EnsembleOfNetworks, FiniteWidthEnsemble


class InfiniteWidthClassifier(ClassifierMixin, EnsembleOfNetworks):
    """Classification with infinitely wide networks, by regression on one-hot labels.

    Args:
        activation: name, `Activation` or JAX function.
        depth: number of layers, the output included.
        C_b: bias variance, one number or one per layer; critical if neither it nor C_W is given,
            with a bias of variance 1 on the inputs.
        C_W: weight variance, likewise.
        noise: variance of the noise on the one-hot labels; `"evidence"` for the most probable one.
        scale_x: divide the inputs by their root mean square over the training set.

    Attributes:
        classes_: the class labels.
        network_: the network, an `MLP` with one output a class.
        noise_: variance of the noise.
        log_evidence_: log density of the one-hot labels.
        posterior_: the posterior behind it, `bayes.InfiniteWidthPosterior`.
        n_features_in_: number of features.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from finitewidth.integrations.sklearn import InfiniteWidthClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> model = InfiniteWidthClassifier("relu", depth=3).fit(X[::2], y[::2])
        >>> bool(model.score(X[1::2], y[1::2]) > 0.9)
        True
    """

    def __init__(
        self,
        activation: str | Activation | Callable = "relu",
        depth: int = 3,
        C_b: float | Sequence[float] | None = None,
        C_W: float | Sequence[float] | None = None,
        noise: float | str = "evidence",
        scale_x: bool = True,
    ):
        self.activation = activation
        self.depth = depth
        self.C_b = C_b
        self.C_W = C_W
        self.noise = noise
        self.scale_x = scale_x

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Condition the ensemble on class labels.

        Args:
            X: inputs, shape (N, n_0).
            y: class labels, shape (N,).

        Returns:
            The estimator itself.

        Raises:
            ValueError: if there is one class only, or parameters or data make no sense.
        """
        inputs, labels = self._checked_labels(X, y)
        check_classification_targets(labels)
        self.classes_, which = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y: wanted at least two classes, got one class: {self.classes_[0]}.")
        self._learn(inputs, centred_one_hot(which))
        return self

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Return the mean outputs above the undecided ones.

        Args:
            X: inputs, shape (N_test, n_0).

        Returns:
            Shape (N_test, classes); for two classes the difference of second and first, (N_test,).
        """
        outputs = self._mean(self._checked(X))
        return outputs[:, 1] - outputs[:, 0] if outputs.shape[1] == 2 else outputs

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return the class of the largest mean output, shape (N_test,).

        Args:
            X: inputs, shape (N_test, n_0).
        """
        largest = np.argmax(self._mean(self._checked(X)), axis=1)
        return self.classes_[largest]


class FiniteWidthClassifier(FiniteWidthEnsemble, InfiniteWidthClassifier):
    """Classification with networks of width n, to first order in 1/n.

    Args:
        n: width of every hidden layer, a whole number or inf.
        activation: as for `InfiniteWidthClassifier`, like all that follow.
        depth: number of layers, the output included.
        C_b: bias variance.
        C_W: weight variance.
        noise: variance of the noise on the one-hot labels, or `"evidence"`.
        scale_x: divide the inputs by their root mean square.
        random_state: seed of the neurons that are drawn for more than 48 inputs.

    Attributes:
        classes_: the class labels.
        network_: the network, an `MLP` with one output a class.
        noise_: variance of the noise.

    Warns:
        ExpansionWarning: from `predict`, if the width is too small for the number of labels.

    Example:
        >>> from finitewidth.integrations.sklearn import FiniteWidthClassifier
        >>> X, y = [[-1.0, 0.2], [0.9, -0.1], [1.1, 0.4]], ["left", "right", "right"]
        >>> FiniteWidthClassifier(n=100, noise=0.1).fit(X, y).predict([[0.8, 0.3]]).tolist()
        ['right']
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
        random_state: int | np.random.RandomState | None = 0,
    ):
        super().__init__(activation, depth, C_b, C_W, noise, scale_x)
        self.n = n
        self.random_state = random_state
