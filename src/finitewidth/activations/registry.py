"""From a name, a function or an activation to an activation."""

import re
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from finitewidth.activations.base import Activation
from finitewidth.activations.custom import custom
from finitewidth.activations.exponential import Elu, Selu, Softplus
from finitewidth.activations.gated import Gelu, GeluTanh, HardSwish, Mish, Swish
from finitewidth.activations.periodic import Cos, Sin
from finitewidth.activations.piecewise_linear import PiecewiseLinear
from finitewidth.activations.polynomial import Monomial
from finitewidth.activations.sigmoidal import (
    Arctan,
    Asinh,
    Erf,
    HardTanh,
    Perceptron,
    Sigmoid,
    Softsign,
    Tanh,
)

_BY_NAME: dict[str, Callable[..., Activation]] = {
    "linear": lambda: PiecewiseLinear(1.0, 1.0),
    "relu": lambda: PiecewiseLinear(1.0, 0.0),
    "leaky_relu": lambda a=0.01: PiecewiseLinear(1.0, float(a)),
    "abs": lambda: PiecewiseLinear(1.0, -1.0),
    "tanh": Tanh,
    "sin": Sin,
    "cos": Cos,
    "erf": Erf,
    "arctan": Arctan,
    "asinh": Asinh,
    "softsign": Softsign,
    "hard_tanh": HardTanh,
    "sigmoid": Sigmoid,
    "softplus": Softplus,
    "gelu": Gelu,
    "gelu_tanh": GeluTanh,
    "silu": Swish,
    "swish": lambda beta=1.0: Swish(float(beta)),
    "mish": Mish,
    "hard_swish": HardSwish,
    "elu": lambda alpha=1.0: Elu(float(alpha)),
    "selu": Selu,
    "monomial": Monomial,
    "quadratic": lambda: Monomial(2),
    "perceptron": Perceptron,
}

# Functions that a JAX user would pass: known functions keep their closed forms.
_BY_FUNCTION: dict[Callable, str] = {
    jnp.tanh: "tanh",
    jnp.sin: "sin",
    jnp.cos: "cos",
    jnp.arctan: "arctan",
    jnp.arcsinh: "asinh",
    jnp.abs: "abs",
    jax.nn.relu: "relu",
    jax.nn.leaky_relu: "leaky_relu",
    jax.nn.sigmoid: "sigmoid",
    jax.nn.softplus: "softplus",
    jax.nn.soft_sign: "softsign",
    jax.nn.silu: "silu",
    jax.nn.mish: "mish",
    jax.nn.hard_tanh: "hard_tanh",
    jax.nn.hard_swish: "hard_swish",
    jax.nn.elu: "elu",
    jax.nn.selu: "selu",
    jax.nn.gelu: "gelu_tanh",  # the default of jax.nn.gelu is the tanh form
    jax.scipy.special.erf: "erf",
}


def activation_names() -> tuple[str, ...]:
    """Return the names of all activations in the library.

    Example:
        >>> "gelu" in activation_names()
        True
    """
    return tuple(_BY_NAME)


def activation(
    what: str | Activation | Callable, kinks: Sequence[float] = (), name: str | None = None
) -> Activation:
    """Return the activation that `what` stands for.

    Args:
        what: a name from `activation_names`, with parameters in brackets where it has some
            (`"leaky_relu(0.2)"`, `"swish(1.5)"`, `"elu(0.5)"`, `"monomial(3)"`); an activation;
            or an elementwise JAX function.
        kinks: for a function of your own, the points where it or a derivative of it jumps.
        name: for a function of your own, what to call it in tables.

    Returns:
        The activation.

    Raises:
        ValueError: if the name is not known or its parameters are wrong.
        TypeError: if `what` is none of the above.

    Example:
        >>> activation("leaky_relu(0.2)").slopes
        (1.0, 0.2)
    """
    if isinstance(what, Activation):
        return what
    if isinstance(what, str):
        return _from_name(what)
    if callable(what):
        if what in _BY_FUNCTION and not kinks:
            return _BY_NAME[_BY_FUNCTION[what]]()
        return custom(what, tuple(kinks), name)
    raise TypeError(
        f"activation: wanted a name, an Activation or an elementwise JAX function, got {what!r}."
    )


def _from_name(text: str) -> Activation:
    match = re.fullmatch(r"\s*([A-Za-z_]+)\s*(?:\(([^()]*)\))?\s*", text)
    key = match.group(1).lower().replace("-", "_") if match else ""
    if match is None or key not in _BY_NAME:
        raise ValueError(
            f"activation: got {text!r}, wanted one of {', '.join(_BY_NAME)} "
            "(or a JAX function of your own)."
        )
    arguments = [part for part in (match.group(2) or "").split(",") if part.strip()]
    try:
        return _BY_NAME[key](*(float(part) for part in arguments))
    except (TypeError, ValueError) as error:
        raise ValueError(f"activation: cannot read the parameters of {text!r}: {error}") from error
