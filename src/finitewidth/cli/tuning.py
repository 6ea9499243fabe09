"""Networks from the options `--C-b` and `--C-W`: both are given, or both are critical."""

from collections.abc import Sequence

from finitewidth.network import MLP


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
