r"""The equivalence principle, class by class: how relative rates depend on layer and depth.

Every layer and every parameter group is to give a parametrically equal amount to an output NTK that
stays of order 1 in depth and width. With tilde_b and tilde_W of order 1,

| class | lambda_b^(l) | lambda_W^(l) | output NTK | |
| --- | --- | --- | --- | --- |
| scale-invariant | tilde_b/L | tilde_W/L | tilde_b + tilde_W |x|^2/n_0 | PDLT (9.94) |
| K*=0 | tilde_b l^-p L^(p-1) | tilde_W l^(p_0-p) L^(p-1) | tilde_b + tilde_W kappa/C_W | (9.95) |
| K*=0, odd | tilde_b/l | tilde_W | tilde_b + tilde_W sigma_1^2/(-a_1) | PDLT (9.96) |
| half-stable | tilde_b/L | tilde_W/L | tilde_b + tilde_W g* | derived |

with p = p_perp and K ~ kappa l^-p_0. The book has p_0 = 1; other p_0 (sigma kinked at 0) are
derived in the same way. The book prints the weights of (9.94) without their 1/n_{l-1}, which
belongs to the step size eta lambda_W/n_{l-1} in every class.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from finitewidth.criticality import Universality
from finitewidth.flow.ntk_asymptotics import kernel_amplitude, rate_exponents


class ClassRates(NamedTuple):
    """Rates of one universality class at tilde_b = tilde_W = 1.

    Attributes:
        bias: lambda_b of every layer, shape (L,).
        weight: lambda_W of every layer, shape (L,).
        weight_ntk: what the weights give to the output NTK, deep in the network.
        reference: where the rule comes from.
    """

    bias: Float[np.ndarray, " L"]
    weight: Float[np.ndarray, " L"]
    weight_ntk: float
    reference: str


def class_rates(universality: Universality, depth: int, mean_square: float) -> ClassRates | None:
    """Return the rates of a universality class, or None if it has no power laws to go by.

    PDLT (9.94)-(9.96).

    Args:
        universality: class of the activation.
        depth: L.
        mean_square: |x|^2/n_0 of the inputs.
    """
    layer, even = np.arange(1.0, depth + 1), np.full(depth, 1 / depth)
    if universality.name == "scale-invariant":
        return ClassRates(even, even, mean_square, "PDLT (9.94)")
    if universality.name == "half-stable":
        point = universality.tuning.points[0]
        assert point.K_star is not None  # only scale-invariant points have none
        return ClassRates(even, even, (point.K_star - point.C_b) / point.C_W, "derived")
    exponents = rate_exponents(universality)
    if exponents is None:
        return None
    p_0, p_perp = exponents
    book = "PDLT (9.96)" if p_perp == 1 else "PDLT (9.95)"
    return ClassRates(
        bias=layer**-p_perp * depth ** (p_perp - 1),
        weight=layer ** (p_0 - p_perp) * depth ** (p_perp - 1),
        weight_ntk=kernel_amplitude(universality) / universality.tuning.points[0].C_W,
        reference=book if p_0 == 1 else "derived",
    )
