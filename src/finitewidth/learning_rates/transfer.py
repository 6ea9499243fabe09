r"""Tuned learning rates of one network, rescaled to another width and depth.

Rates are measured in units of the equivalence principle, PDLT (9.94)-(9.96),

    lambda_b^(l) = tilde_b(l/L) f_b(l, L),      lambda_W^(l) = tilde_W(l/L) f_W(l, L),

and the tilde's are kept as functions of the relative depth. Rates that follow the principle keep
their tilde_b and tilde_W; rates that someone tuned layer by layer keep their profile, continued
between layers as a power of l/L, so that uniform rates stay uniform. In mode "layerwise" they are
the shares of the output NTK times L, continued linearly in (l - 1/2)/L. The width enters through
the step size eta lambda_W/n_{l-1} alone, so eta is kept too, and the output NTK comes out the same,
deep in the network.
"""

import numpy as np
from jaxtyping import ArrayLike, Float

from finitewidth.learning_rates.equivalence import Mode, layerwise_rates, rule_for
from finitewidth.learning_rates.off_criticality import off_criticality
from finitewidth.learning_rates.rates import LearningRates, check_eta, mean_square_entry, rates_of
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision


@in_double_precision
def transfer(
    from_net: MLP,
    to_net: MLP,
    x: Float[ArrayLike, "N n0"] | None = None,
    *,
    eta: float = 1.0,
    mode: Mode = "asymptotic",
) -> LearningRates:
    """Rescale the rates of a tuned network to a network of another width and depth.

    Args:
        from_net: the network whose lambda_b and lambda_W were tuned.
        to_net: the network that wants rates; its own do not matter. Same activation.
        x: inputs of both networks, shape (N, n_0), of which the mean square entry is taken; 1
            without them.
        eta: the global learning rate that was tuned; it stays.
        mode: unit that rates are measured in: "asymptotic" for the rule of the class, "layerwise"
            for the share of the output NTK that every layer has along the flow.

    Returns:
        Rates and step sizes for `to_net`.

    Raises:
        ValueError: if the activations differ, x does not fit, or mode "asymptotic" meets a network
            without a rule or off criticality.

    Example:
        >>> import finitewidth as fw
        >>> small = fw.MLP.critical((10, 50, 50, 1), "relu", lambda_b=0.5, lambda_W=0.1)
        >>> large = fw.MLP.critical((10, 200, 200, 200, 200, 200, 1), "relu")
        >>> rates = transfer(small, large)
        >>> rates.lambda_b.tolist()[0], round(rates.weight_step.tolist()[1], 8)
        (0.25, 0.00025)
    """
    eta = check_eta(eta)
    if from_net.activation != to_net.activation:
        raise ValueError(
            "to_net: wanted the activation of from_net, got "
            f"{to_net.activation} instead of {from_net.activation}."
        )
    mean_square = mean_square_entry(from_net, x)
    if x is not None:
        mean_square_entry(to_net, x)
    if mode == "layerwise":
        units = [layerwise_rates(net, mean_square) for net in (from_net, to_net)]
        reference, universality_class = "from PDLT (9.28)", None
    elif mode == "asymptotic":
        units, reference, universality_class = [], "", None
        for name, net in (("from_net", from_net), ("to_net", to_net)):
            universality, rule = rule_for(net, mean_square)
            away = off_criticality(net, universality, mean_square)
            if away is not None:
                raise ValueError(
                    f"{name}: wanted a critical network, got {away}. Use mode='layerwise'."
                )
            units.append((rule.bias, rule.weight))
            reference, universality_class = rule.reference, universality.name
    else:
        raise ValueError(f"mode: wanted 'asymptotic' or 'layerwise', got {mode!r}.")

    continued = _as_power if mode == "asymptotic" else _linearly
    lambda_b, lambda_W = (
        continued(np.asarray(rate) / np.asarray(unit), to_net.depth) * np.asarray(new_unit)
        for rate, unit, new_unit in zip((from_net.lambda_b, from_net.lambda_W), *units, strict=True)
    )
    return rates_of(
        to_net,
        lambda_b,
        lambda_W,
        mean_square,
        eta,
        principle=f"Rates of a network of {from_net.depth} layers, transferred",
        reference=reference,
        universality_class=universality_class,
    )


def _linearly(profile: np.ndarray, depth: int) -> np.ndarray:
    """Continue a profile linearly in (l - 1/2)/L, and as a constant beyond its ends."""
    old, new = ((np.arange(L) + 0.5) / L for L in (len(profile), depth))
    return np.interp(new, old, profile)


def _as_power(profile: np.ndarray, depth: int) -> np.ndarray:
    """Continue a profile as a power of l/L between two layers, and so below the first one."""
    if len(profile) == 1 or (profile <= 0).any():
        # A frozen layer has no power: straight lines do.
        return _linearly(profile, depth)
    old, new = (np.log(np.arange(1, L + 1) / L) for L in (len(profile), depth))
    values = np.log(profile)
    slope = (values[1] - values[0]) / (old[1] - old[0])
    below = values[0] + slope * (new - old[0])
    return np.exp(np.where(new < old[0], below, np.interp(new, old, values)))
