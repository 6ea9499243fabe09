r"""How far the hyperparameters of a network are from those that make its class critical.

Off criticality prod chi_perp is exponential in the depth and no power of it: a relative error delta
of C_W makes a factor exp(L delta) in the NTK. What counts is therefore L times the distance. The
hyperparameters of layer 1 only set the first kernel, from which every class flows on.
"""

import numpy as np

from finitewidth.criticality import Universality
from finitewidth.flow.ntk_asymptotics import kernel_amplitude, rate_exponents
from finitewidth.network import MLP

#: The largest L |delta| that still counts as critical: shares change by less than this fraction.
TOLERATED = 0.1


def off_criticality(net: MLP, universality: Universality, mean_square: float) -> str | None:
    """Say in words how far a network is off criticality, or return None if it is critical.

    Args:
        net: the network.
        universality: class of its activation, with a recommended critical point.
        mean_square: |x|^2/n_0 of the inputs.
    """
    point, L = universality.tuning.points[0], net.depth
    C_b, C_W = np.asarray(net.C_b), np.asarray(net.C_W)
    first = float(C_b[0] + C_W[0] * mean_square)
    K = first if point.K_star is None else point.K_star
    exponents = rate_exponents(universality)
    if exponents is not None:
        K = min(first, kernel_amplitude(universality) * L ** -exponents[0])
    found = []
    if L > 1:
        worst = int(np.argmax(np.abs(C_W[1:] - point.C_W))) + 1
        delta = C_W[worst] / point.C_W - 1
        if L * abs(delta) > TOLERATED:
            with np.errstate(over="ignore"):
                factor = np.power(1 + delta, L)
            found.append(
                f"C_W = {C_W[worst]:.6g} in layer {worst + 1}, critical is {point.C_W:.6g}: over "
                f"{L} layers a factor {factor:.3g}"
            )
        worst = int(np.argmax(np.abs(C_b[1:] - point.C_b))) + 1
        if L * abs(C_b[worst] - point.C_b) > TOLERATED * K:
            found.append(
                f"C_b = {C_b[worst]:.6g} in layer {worst + 1}, critical is {point.C_b:.6g}, beside "
                f"a kernel of {K:.3g}"
            )
    return "; ".join(found) or None
