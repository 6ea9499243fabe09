r"""The multilayer perceptron and its ensemble, as numbers that the theory and the experiment share.

    z^(1)   = b^(1)   + W^(1) x
    z^(l+1) = b^(l+1) + W^(l+1) sigma(z^(l)),   l = 1 .. L-1         PDLT (2.5), (2.6)

    Var b_i^(l) = C_b^(l),   Var W_ij^(l) = C_W^(l) / n_{l-1}          PDLT (2.19), (2.20)

The learning-rate tensor is lambda_b^(l) for biases and lambda_W^(l) / n_{l-1} for weights, PDLT
(8.6). Widths, activation and the law of the weights are static; the hyperparameters are leaves, so
everything can be differentiated with respect to them and mapped over them.
"""

from collections.abc import Callable, Sequence
from typing import Self

import equinox as eqx
import jax
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from finitewidth.activations import Activation, activation
from finitewidth.criticality import critical_initialization
from finitewidth.network.initialization import Layer, draw_layer, weight_laws
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_inputs, check_per_layer, check_widths, is_concrete

Parameters = tuple[Layer, ...]


class MLP(eqx.Module):
    """A multilayer perceptron with the ensemble that its parameters are drawn from.

    Arrays with one entry per layer have layer l in entry l-1. There is no activation on the
    output layer.

    Attributes:
        widths: (n_0, n_1, ..., n_L), the input dimension first and the output dimension last.
        activation: the activation function sigma.
        C_b: bias variances, shape (L,).
        C_W: rescaled weight variances, shape (L,).
        lambda_b: relative learning rates of biases, shape (L,).
        lambda_W: relative learning rates of weights, before the division by n_{l-1}, shape (L,).
        law: `"gaussian"`, `"uniform"`, `"truncated_normal"` or `"orthogonal"`.

    Raises:
        ValueError, TypeError: for widths that are not positive whole numbers, negative or
            non-finite hyperparameters, a wrong number of them, an unknown activation or law.

    Example:
        >>> net = MLP(widths=(3, 16, 16, 2), activation="tanh", C_b=0.1, C_W=[1.0, 1.2, 1.0])
        >>> net.depth, net.parameter_count
        (3, 370)
    """

    widths: tuple[int, ...] = eqx.field(static=True)
    activation: Activation = eqx.field(static=True)
    C_b: Float[Array, " L"]
    C_W: Float[Array, " L"]
    lambda_b: Float[Array, " L"]
    lambda_W: Float[Array, " L"]
    law: str = eqx.field(static=True)

    @in_double_precision
    def __init__(
        self,
        widths: Sequence[int],
        activation: str | Activation | Callable,
        C_b: ArrayLike = 0.0,
        C_W: ArrayLike = 1.0,
        lambda_b: ArrayLike = 1.0,
        lambda_W: ArrayLike = 1.0,
        law: str = "gaussian",
    ):
        self.widths = check_widths(widths)
        self.activation = _activation(activation)
        layers = len(self.widths) - 1
        self.C_b = check_per_layer(C_b, layers, "C_b")
        self.C_W = check_per_layer(C_W, layers, "C_W")
        self.lambda_b = check_per_layer(lambda_b, layers, "lambda_b")
        self.lambda_W = check_per_layer(lambda_W, layers, "lambda_W")
        if law not in weight_laws():
            raise ValueError(f"law: wanted one of {', '.join(weight_laws())}, got {law!r}.")
        self.law = law

    @classmethod
    def critical(
        cls,
        widths: Sequence[int],
        activation: str | Activation | Callable,
        lambda_b: ArrayLike = 1.0,
        lambda_W: ArrayLike = 1.0,
        law: str = "gaussian",
    ) -> Self:
        """Build a network tuned to criticality, PDLT (5.55): chi_parallel = chi_perp = 1.

        Args:
            widths: (n_0, n_1, ..., n_L).
            activation: name, `Activation` or JAX function.
            lambda_b: relative learning rates of biases.
            lambda_W: relative learning rates of weights.
            law: law of the weights.

        Returns:
            The network, with the critical C_b and C_W in every layer.

        Raises:
            ValueError: if the activation has no critical initialization.

        Example:
            >>> net = MLP.critical(widths=(64, 128, 128, 10), activation="relu")
            >>> float(net.C_W[0]), float(net.C_b[0])
            (2.0, 0.0)
        """
        sigma = _activation(activation)
        C_b, C_W = critical_initialization(sigma)
        return cls(widths, sigma, C_b, C_W, lambda_b, lambda_W, law)

    @property
    def depth(self) -> int:
        """The number of layers L, hidden ones and the output."""
        return len(self.widths) - 1

    @property
    def parameter_count(self) -> int:
        """The number of weights and biases, sum_l (n_l + n_l n_{l-1}), PDLT (2.7)."""
        return sum(
            n_out * (n_in + 1) for n_in, n_out in zip(self.widths, self.widths[1:], strict=False)
        )

    @in_double_precision
    def init(self, key: PRNGKeyArray) -> Parameters:
        """Draw the biases and weights of one network.

        Args:
            key: a JAX random key.

        Returns:
            One `Layer(b, W)` per layer, b of shape (n_l,) and W of shape (n_l, n_{l-1}).
        """
        keys = jax.random.split(key, self.depth)
        return tuple(
            draw_layer(self.law, layer_key, n_in, n_out, C_b, C_W)
            for layer_key, n_in, n_out, C_b, C_W in zip(
                keys, self.widths[:-1], self.widths[1:], self.C_b, self.C_W, strict=True
            )
        )

    @in_double_precision
    def preactivations(
        self, params: Parameters, x: Float[ArrayLike, "N n0"]
    ) -> tuple[Float[Array, "N n_l"], ...]:
        """Run one network and keep z^(1), ..., z^(L).

        Args:
            params: as returned by `init`.
            x: inputs, shape (N, n_0).

        Returns:
            The preactivations of every layer, shapes (N, n_l).
        """
        signal = check_inputs(x, self.widths[0])
        z: list[Array] = []
        for layer in params:
            z.append(layer.b + signal @ layer.W.T)
            signal = self.activation(z[-1])
        return tuple(z)

    def apply(self, params: Parameters, x: Float[ArrayLike, "N n0"]) -> Float[Array, "N n_L"]:
        """Run one network on a batch of inputs.

        Args:
            params: as returned by `init`.
            x: inputs, shape (N, n_0).

        Returns:
            The outputs z^(L), shape (N, n_L).

        Example:
            >>> import jax
            >>> net = MLP(widths=(3, 8, 2), activation="relu", C_W=2.0)
            >>> net.apply(net.init(jax.random.key(0)), [[1.0, 0.0, -1.0]]).shape
            (1, 2)
        """
        return self.preactivations(params, x)[-1]

    def __repr__(self) -> str:
        return (
            f"MLP(widths={self.widths}, activation={self.activation}, "
            f"C_b={_short(self.C_b)}, C_W={_short(self.C_W)}, law={self.law})"
        )


def _activation(what: str | Activation | Callable) -> Activation:
    # Inside the class the name `activation` is the argument.
    return activation(what)


def _short(values: Float[Array, " L"]) -> str:
    if not is_concrete(values):
        return str(values)
    numbers = [f"{float(v):.6g}" for v in values]
    return numbers[0] if len(set(numbers)) == 1 else "[" + ", ".join(numbers) + "]"
