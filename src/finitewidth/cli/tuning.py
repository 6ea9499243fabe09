"""Networks from the options: `--C-b` and `--C-W` are both given or both critical, and `--rates`."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from finitewidth import learning_rates
from finitewidth.network import MLP

#: Ways to choose the learning rates of the layers.
RATES = ("uniform", "equivalence", "layerwise")


def check_tuning(C_b: float | None, C_W: float | None) -> None:
    """Refuse one of C_b and C_W without the other."""
    if (C_b is None) != (C_W is None):
        raise ValueError("C-b, C-W: wanted both or neither (then they are the critical ones).")


def tuned(
    widths: Sequence[int], activation: str, C_b: float | None = None, C_W: float | None = None
) -> MLP:
    """Return a network with these variances in every layer, the critical ones if None.

    Args:
        widths: (n_0, n_1, ..., n_L).
        activation: name of the activation.
        C_b: bias variance.
        C_W: weight variance.

    Raises:
        ValueError, TypeError: if one of C_b and C_W is None and the other is not, or an argument
            is not what it should be.

    Example:
        >>> tuned((3, 8, 2), "relu").C_W.tolist()
        [2.0, 2.0]
    """
    check_tuning(C_b, C_W)
    if C_b is None or C_W is None:
        return MLP.critical(widths, activation)
    return MLP(widths, activation, C_b, C_W)


def check_rates(rates: str) -> None:
    """Refuse a way to choose learning rates that is not one of `RATES`."""
    if rates not in RATES:
        raise ValueError(f"rates: wanted one of {', '.join(RATES)}, got {rates!r}.")


def with_rates(net: MLP, x: Float[np.ndarray, "N n0"], rates: str) -> MLP:
    """Return the network with these learning rates.

    Args:
        net: the network.
        x: inputs, of which the mean square entry is taken.
        rates: "uniform"; "equivalence" or "layerwise" for the equivalence principle,
            `learning_rates.equivalence`.

    Raises:
        ValueError: if there is no such way, or it does not suit the network.
    """
    check_rates(rates)
    if rates == "uniform":
        return net
    mode = "layerwise" if rates == "layerwise" else "asymptotic"
    return learning_rates.equivalence(net, x, mode=mode).apply(net)
