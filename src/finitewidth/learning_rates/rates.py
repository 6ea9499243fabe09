r"""Learning rates for every layer, and what they make each layer give to the output NTK.

The learning-rate tensor has lambda_b^(l) for biases and lambda_W^(l)/n_{l-1} for weights, PDLT
(8.6), so that a step of gradient descent on a loss E is

    db_i^(l)  = -eta lambda_b^(l) dE/db_i^(l),
    dW_ij^(l) = -eta lambda_W^(l)/n_{l-1} dE/dW_ij^(l).

The shares of biases and weights in the output NTK, PDLT (9.28), say which layers learn.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, ArrayLike, Float

from finitewidth.criticality.moments import described
from finitewidth.flow.ntk_shares import NTKShares, layer_shares
from finitewidth.flow.ntk_single_input import check_slope
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_inputs


class LearningRates(eqx.Module):
    """Relative rates and step sizes of every layer; entry l-1 of an array is layer l.

    Attributes:
        principle: how the rates were found.
        reference: where the rule comes from.
        activation: name of sigma.
        universality_class: of sigma; None if the rule does not ask for it.
        widths: (n_0, ..., n_L) that the weights' step sizes are for.
        eta: global learning rate.
        lambda_b: relative rates of biases, shape (L,).
        lambda_W: relative rates of weights, before the division by n_{l-1}, shape (L,).
        shares: what every layer gives to the output NTK with these rates, at infinite width.
        uniform: the same with rates that do not depend on the layer.
        predicted_ntk: output NTK that the rule promises; None if it promises none.
        advice: in words.
    """

    principle: str
    reference: str
    activation: str
    universality_class: str | None
    widths: tuple[int, ...] = eqx.field(static=True)
    eta: float
    lambda_b: Float[Array, " L"]
    lambda_W: Float[Array, " L"]
    shares: NTKShares
    uniform: NTKShares
    predicted_ntk: float | None
    advice: tuple[str, ...] = ()

    @property
    @in_double_precision
    def bias_step(self) -> Float[Array, " L"]:
        """Step sizes of biases, eta lambda_b."""
        return self.eta * self.lambda_b

    @property
    @in_double_precision
    def weight_step(self) -> Float[Array, " L"]:
        """Step sizes of weights, eta lambda_W/n_{l-1}."""
        return self.eta * self.lambda_W / np.asarray(self.widths[:-1], dtype=float)

    @property
    def output_ntk(self) -> float:
        """The output NTK at infinite width, Theta^(L), the sum of all shares."""
        return float(self.shares.total)

    @property
    def imbalance(self) -> dict[str, float]:
        """Largest share over smallest, for "bias", "weight" and "layer"; 1 is perfect balance."""
        return self.shares.imbalance

    @property
    def uniform_imbalance(self) -> dict[str, float]:
        """The same at rates that do not depend on the layer."""
        return self.uniform.imbalance

    def apply(self, net: MLP) -> MLP:
        """Return the network with these rates.

        Args:
            net: a network of the same depth and activation; its widths may differ.

        Returns:
            The network; its other numbers are kept.

        Raises:
            ValueError: if depth or activation differ.
        """
        depth = len(self.widths) - 1
        if net.depth != depth or net.activation.name != self.activation:
            raise ValueError(
                f"net: wanted {depth} layers of {self.activation}, the network that these rates "
                f"are for, got {net.depth} layers of {net.activation.name}."
            )
        rates = (self.lambda_b, self.lambda_W)
        return eqx.tree_at(lambda n: (n.lambda_b, n.lambda_W), net, rates)

    def to_dict(self) -> dict:
        """Return everything as plain numbers, strings, lists and dicts that JSON can hold."""
        return {
            "principle": self.principle,
            "reference": self.reference,
            "activation": self.activation,
            "universality_class": self.universality_class,
            "widths": list(self.widths),
            "eta": self.eta,
            "lambda_b": self.lambda_b.tolist(),
            "lambda_W": self.lambda_W.tolist(),
            "bias_step": self.bias_step.tolist(),
            "weight_step": self.weight_step.tolist(),
            "bias_share": self.shares.bias.tolist(),
            "weight_share": self.shares.weight.tolist(),
            "output_ntk": self.output_ntk,
            "predicted_ntk": self.predicted_ntk,
            "imbalance": _finite(self.imbalance),
            "uniform_imbalance": _finite(self.uniform_imbalance),
            "advice": list(self.advice),
        }

    def to_xarray(self) -> xr.Dataset:
        """Return rates, step sizes and shares as a labelled data set."""
        fields = {
            name: ("layer", np.asarray(getattr(self, name)))
            for name in ("lambda_b", "lambda_W", "bias_step", "weight_step")
        }
        fields |= {
            f"{name}_share": ("layer", np.asarray(getattr(self.shares, name)))
            for name in ("bias", "weight")
        }
        layers = np.arange(1, len(self.widths))
        return xr.Dataset(fields, coords={"layer": layers}, attrs={"principle": self.principle})

    def summary(self) -> str:
        """Return the rates as text for people."""
        L = len(self.widths) - 1
        lines = [
            f"{self.principle} for {L} layers of {self.activation}  [{self.reference}]",
            "  layer   bias step   weight step   bias share   weight share",
        ]
        shown = range(L) if L <= 8 else sorted({0, 1, 2, L // 4, L // 2, 3 * L // 4, L - 2, L - 1})
        for i in shown:
            columns = (self.bias_step, self.weight_step, self.shares.bias, self.shares.weight)
            b, w, bias, weight = (float(column[i]) for column in columns)
            lines.append(f"  {i + 1:>5}  {b:>10.4g}  {w:>12.4g}  {bias:>11.4g}  {weight:>13.4g}")
        promised = "" if self.predicted_ntk is None else f", the rule: {self.predicted_ntk:.6g}"
        lines.append(f"  output NTK {self.output_ntk:.6g}{promised}")
        for name, ours in self.imbalance.items():
            other = self.uniform_imbalance[name]
            lines.append(
                f"  largest over smallest {name} share: {ours:.4g} (uniform rates: {other:.4g})"
            )
        return "\n".join(lines + [f"  {line}" for line in self.advice])

    __str__ = summary

    def __repr__(self) -> str:
        return (
            f"LearningRates({self.principle!r}, activation={self.activation!r}, "
            f"widths={self.widths}, eta={self.eta:g}, output_ntk={self.output_ntk:.6g})"
        )


def rates_of(
    net: MLP,
    lambda_b: ArrayLike,
    lambda_W: ArrayLike,
    mean_square: float,
    eta: float,
    principle: str,
    reference: str,
    universality_class: str | None = None,
    predicted_ntk: float | None = None,
    advice: tuple[str, ...] = (),
) -> LearningRates:
    """Put rates beside the shares that they lead to in a network.

    Args:
        net: the network; its own rates do not matter.
        lambda_b: relative rates of biases, shape (L,).
        lambda_W: relative rates of weights, shape (L,).
        mean_square: |x|^2/n_0 of the inputs.
        eta: global learning rate.
        principle: how the rates were found.
        reference: where the rule comes from.
        universality_class: of the activation, if the rule asks for it.
        predicted_ntk: output NTK that the rule promises.
        advice: in words.

    Raises:
        ValueError: if a rate is not finite or the activation jumps.
    """
    sigma = check_slope(described(net.activation))
    lambda_b, lambda_W = (jnp.asarray(rate, dtype=float) for rate in (lambda_b, lambda_W))
    if not (np.isfinite(np.asarray(lambda_b)) & np.isfinite(np.asarray(lambda_W))).all():
        raise ValueError(
            "net: wanted finite rates for every layer, got infinite ones: gradients or signals "
            "vanish altogether on their way through this network. Bring it nearer to criticality."
        )

    def shares(bias: Array, weight: Array) -> NTKShares:
        return layer_shares(sigma, jnp.asarray(mean_square), net.C_b, net.C_W, bias, weight)

    return LearningRates(
        principle=principle,
        reference=reference,
        activation=net.activation.name,
        universality_class=universality_class,
        widths=net.widths,
        eta=float(eta),
        lambda_b=lambda_b,
        lambda_W=lambda_W,
        shares=shares(lambda_b, lambda_W),
        uniform=shares(jnp.ones(net.depth), jnp.ones(net.depth)),
        predicted_ntk=predicted_ntk,
        advice=advice,
    )


def mean_square_entry(net: MLP, x: Float[ArrayLike, "N n0"] | None) -> float:
    """Return the mean of |x|^2/n_0 over the inputs; 1, that of standardized data, without any.

    Raises:
        ValueError: if x does not fit the network or is zero.
    """
    if x is None:
        return 1.0
    mean_square = float((check_inputs(x, net.widths[0]) ** 2).mean())
    if mean_square == 0:
        raise ValueError("x: wanted inputs that are not all zero, got zeros.")
    return mean_square


def check_eta(eta: float) -> float:
    """Return a global learning rate, or say what is wrong with it."""
    if not (np.isfinite(eta) and eta > 0):
        raise ValueError(f"eta: wanted a finite learning rate > 0, got {eta}.")
    return float(eta)


def _finite(values: dict[str, float]) -> dict[str, float | str]:
    return {name: value if np.isfinite(value) else str(value) for name, value in values.items()}
