r"""Learning rates by the equivalence principle: every layer learns as much as every other.

mode="asymptotic": the rule of the universality class, PDLT (9.94)-(9.96), in `class_rates`. It
levels the shares of the output NTK deep in the network; the first layers of the class K* = 0 are
still on their way to the power law.

mode="layerwise": rates that level all shares exactly, along the flow of this very network, from the
formal solution PDLT (9.28),

    lambda_b^(l) = tilde_b/(L P_l),   lambda_W^(l) = tilde_W/(L g^(l-1) P_l),
    P_l = prod_{l'=l}^{L-1} chi_perp^(l'),

so that every bias group gives tilde_b/L and every weight group tilde_W/L. It needs no criticality,
but off criticality the rates of different layers differ exponentially.
"""

from dataclasses import replace
from typing import Literal

import jax.numpy as jnp
from jaxtyping import ArrayLike, Float

from finitewidth.criticality import Universality, classify
from finitewidth.criticality.moments import described
from finitewidth.flow.ntk_shares import NTKShares, layer_shares
from finitewidth.flow.ntk_single_input import check_slope
from finitewidth.learning_rates.class_rates import ClassRates, class_rates
from finitewidth.learning_rates.off_criticality import off_criticality
from finitewidth.learning_rates.rates import LearningRates, check_eta, mean_square_entry, rates_of
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision

Mode = Literal["asymptotic", "layerwise"]

#: A share this many times another one is worth a word.
UNEVEN = 2.0
#: A first kernel this close to K*, relatively, is on it.
NEAR = 0.01


@in_double_precision
def equivalence(
    net: MLP,
    x: Float[ArrayLike, "N n0"] | None = None,
    *,
    eta: float = 1.0,
    lambda_b: float = 1.0,
    lambda_W: float = 1.0,
    mode: Mode = "asymptotic",
    off_critical: Literal["refuse", "allow"] = "refuse",
) -> LearningRates:
    """Return learning rates that make all layers of a network learn alike.

    PDLT (9.94)-(9.96), or the exact form of this module.

    Args:
        net: the network; its own rates do not matter.
        x: inputs, shape (N, n_0), of which the mean square entry is taken; 1 without them.
        eta: global learning rate.
        lambda_b: tilde_b, the rate of biases before layer and depth come in.
        lambda_W: tilde_W, the rate of weights before layer, depth and width come in.
        mode: "asymptotic" for the rule of the universality class, "layerwise" for exact balance.
        off_critical: whether mode "asymptotic" is refused or allowed for a network that is not
            critical; if allowed, the shares say what becomes of it.

    Returns:
        Rates, step sizes and the shares of every layer, with advice.

    Raises:
        ValueError: if the class has no rule, the network is off criticality, x does not fit, a
            number is wrong, or gradients vanish altogether on their way through the network.

    Cost: O(L), after the classification of the activation (seconds, once).

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP.critical((64, 100, 100, 100, 10), "relu")
        >>> rates = equivalence(net, eta=0.5)
        >>> rates.bias_step.tolist(), round(rates.output_ntk, 12)
        ([0.125, 0.125, 0.125, 0.125], 2.0)
    """
    eta, mean_square = check_eta(eta), mean_square_entry(net, x)
    if not (lambda_b >= 0 and lambda_W >= 0 and 0 < lambda_b + lambda_W < float("inf")):
        raise ValueError(
            "lambda_b, lambda_W: wanted finite rates >= 0, not both 0, got "
            f"{lambda_b} and {lambda_W}."
        )
    if mode == "layerwise":
        bias, weight = layerwise_rates(net, mean_square)
        rates = rates_of(
            net, lambda_b * bias, lambda_W * weight, mean_square, eta,
            principle="Equivalence principle, layer by layer",
            reference="from PDLT (9.28)",
            predicted_ntk=float(lambda_b + lambda_W),
        )  # fmt: skip
        return replace(rates, advice=_layerwise_advice(rates))
    if mode != "asymptotic":
        raise ValueError(f"mode: wanted 'asymptotic' or 'layerwise', got {mode!r}.")
    universality, rule = rule_for(net, mean_square)
    away = off_criticality(net, universality, mean_square)
    if away is not None and off_critical != "allow":
        raise ValueError(
            f"net: wanted a critical network, got {away}. Use MLP.critical, mode='layerwise', or "
            "off_critical='allow' to see what the rule of the class does here."
        )
    rates = rates_of(
        net, lambda_b * rule.bias, lambda_W * rule.weight, mean_square, eta,
        principle="Equivalence principle",
        reference=rule.reference,
        universality_class=universality.name,
        predicted_ntk=float(lambda_b + lambda_W * rule.weight_ntk),
    )  # fmt: skip
    advice = (
        *_off_critical_advice(away),
        *_first_kernel_advice(net, universality, mean_square),
        *_class_advice(rates, rule, lambda_b, lambda_W),
    )
    return replace(rates, advice=advice)


def rule_for(net: MLP, mean_square: float) -> tuple[Universality, ClassRates]:
    """Return the universality class of a network's activation and its rule, or say it has none."""
    sigma = check_slope(described(net.activation))
    universality = classify(sigma)
    if universality.name == "none":
        raise ValueError(
            f"net: wanted an activation that can be critical, got {sigma.name}: "
            + " ".join(universality.tuning.reasons)
            + " mode='layerwise' balances the layers at any C_b and C_W."
        )
    rule = class_rates(universality, net.depth, mean_square)
    if rule is None:
        raise ValueError(
            f"net: wanted an activation with power laws in depth, got {sigma.name}, class "
            f"{universality.name} ({universality.subclass}); use mode='layerwise'."
        )
    return universality, rule


def layerwise_rates(net: MLP, mean_square: float) -> tuple[Float[ArrayLike, " L"], ...]:
    """Return lambda_b and lambda_W that make every share 1/L, from PDLT (9.28)."""
    shares = flow_shares(net, mean_square)
    bias = 1 / (net.depth * shares.propagation)
    return bias, bias / shares.signal


def flow_shares(net: MLP, mean_square: float) -> NTKShares:
    """Return the shares of a network with the rates that it has."""
    sigma = check_slope(described(net.activation))
    square = jnp.asarray(mean_square)
    return layer_shares(sigma, square, net.C_b, net.C_W, net.lambda_b, net.lambda_W)


def _off_critical_advice(away: str | None) -> tuple[str, ...]:
    if away is None:
        return ()
    return (f"Off criticality: {away}. The shares are those of the network as it is.",)


def _first_kernel_advice(
    net: MLP, universality: Universality, mean_square: float
) -> tuple[str, ...]:
    """Say how to put the first kernel of a half-stable network on K*."""
    K_star = universality.tuning.points[0].K_star
    first = float(net.C_b[0] + net.C_W[0] * mean_square)
    if universality.name != "half-stable" or K_star is None or abs(first / K_star - 1) < NEAR:
        return ()
    on_it = (K_star - float(net.C_b[0])) / float(net.C_W[0])
    return (
        f"The first kernel is {first:.4g} and K* is {K_star:.4g}: inputs with mean square "
        f"{on_it:.6g} would put it there.",
    )


def _class_advice(
    rates: LearningRates, rule: ClassRates, lambda_b: float, lambda_W: float
) -> tuple[str, ...]:
    lines = []
    weights, biases = float(rates.shares.weight.sum()), float(rates.shares.bias.sum())
    if lambda_b and lambda_W and not 1 / UNEVEN <= weights / biases <= UNEVEN:
        lines.append(
            f"Weights give {weights / biases:.3g} times what biases give to the output NTK; "
            f"lambda_W = {lambda_b / rule.weight_ntk:.4g} would make them equal deep down."
        )
    if rates.imbalance["layer"] > UNEVEN:
        lines.append(
            "Some layers have not reached the law of the class; mode='layerwise' levels them."
        )
    return tuple(lines)


def _layerwise_advice(rates: LearningRates) -> tuple[str, ...]:
    spread = float(rates.shares.propagation.max() / rates.shares.propagation.min())
    if spread <= len(rates.widths) ** 2:
        return ()
    return (
        f"The rates of different layers differ by a factor {spread:.3g}: this network is far from "
        "criticality, and at finite width its layers will not stay balanced.",
    )
