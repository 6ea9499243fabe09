"""How observables fall or grow with depth l at a critical point: exponents and amplitudes.

    observable ~ amplitude * (1/l)^p                                           PDLT (5.93)

K is the kernel, dK_1 a difference of norms, dK_2 a small angle squared times K, psi an angle, V the
four-point vertex at equal widths, G1 the NLO metric without tuning of subleading hyperparameters.
"""

import math

import equinox as eqx

from finitewidth.criticality.small_kernel import SmallKernel


class Asymptotic(eqx.Module):
    """The leading behavior of one observable deep in a critical network.

    Attributes:
        name: of the exponent, e.g. "p_0".
        exponent: p; None if the observable vanishes or is no power of the depth.
        amplitude: None if it depends on the data.
        law: the statement in symbols.
        reference: where it comes from.
    """

    name: str
    exponent: float | None
    amplitude: float | None
    law: str
    reference: str


def scale_invariant(vertex: float, rho: float) -> tuple[Asymptotic, ...]:
    """Return the asymptotics of the scale-invariant class, PDLT (5.119), (5.120), (5.166)-(5.168).

    Args:
        vertex: N = 3 A_4/A_2^2 - 1; amplitudes of V are in units of K*^2.
        rho: PDLT (5.163); without it (linear networks) angles stay.

    Returns:
        One entry for each exponent.
    """
    turning = rho > 0
    return (
        Asymptotic("p_0", 0.0, None, "K = K*, set by the input", "PDLT (5.119)"),
        Asymptotic("p_parallel", 0.0, None, "dK_1 is preserved", "PDLT (5.64)"),
        Asymptotic(
            "p_perp", 2.0 if turning else 0.0, 9 / (4 * rho**2) if turning else None,
            "dK_2 ~ K* 9/(4 rho^2) l^-2" if turning else "dK_2 is preserved", "PDLT (5.168)",
        ),
        Asymptotic(
            "p_psi", 1.0 if turning else 0.0, 3 / rho if turning else None,
            "psi ~ (3/rho) l^-1" if turning else "psi is preserved", "PDLT (5.166)",
        ),
        Asymptotic("p_V", -1.0, vertex, "V ~ N K*^2 l", "PDLT (5.120)"),
        Asymptotic("p_1", None, 0.0, "G1 = 0 for a single input", "PDLT (5.117)"),
    )  # fmt: skip


def decaying(expansion: SmallKernel) -> tuple[Asymptotic, ...]:
    """Return the asymptotics of the K* = 0 class from C_W g = K - c K^(1+q), c > 0.

    With q = 1, c = -a_1, b = -b_1, N = 2 these are PDLT (5.92), (5.97), (5.99), (5.127), (5.134);
    other q are derived in the same way. The limit of infinite q is the marginal case, where
    K falls like 1/log l.

    Args:
        expansion: of the layer map at small K.

    Returns:
        One entry for each exponent.
    """
    q, c, b, N = expansion.q, expansion.c, expansion.b, expansion.vertex
    if math.isinf(q):
        return _logarithmic(N)
    p_0 = 1 / q
    kernel = (q * c) ** -p_0
    # b and c may come from a fit that is good to 1e-10.
    p_perp = None if math.isinf(b) else round(b / (q * c), 9)
    tilt = None
    if p_perp is not None and expansion.rho > 0 and p_perp < p_0 + 2:
        # A kink in sigma' turns angles as in the scale-invariant class: psi' = psi - rho psi^2/3,
        # on top of the linear response psi ~ l^-(p_perp - p_0)/2.
        tilt = 3 / expansion.rho * (1 - (p_perp - p_0) / 2)
        p_perp = p_0 + 2
    p_psi = None if p_perp is None else (p_perp - p_0) / 2
    book = expansion.regularity == "smooth" and q == 1
    return (
        Asymptotic("p_0", p_0, kernel, "K ~ (q c l)^(-1/q)", "PDLT (5.92)" if book else "derived"),
        Asymptotic(
            "p_parallel", p_0 + 1, None, "dK_1 ~ l^-(1+1/q)", "PDLT (5.97)" if book else "derived"
        ),
        Asymptotic(
            "p_perp", p_perp, None if tilt is None else kernel * tilt**2 / 4,
            "dK_2 ~ l^-(b/qc)" if tilt is None else "dK_2 ~ K psi^2/4",
            "PDLT (5.99)" if book else "derived",
        ),
        Asymptotic(
            "p_psi", p_psi, tilt, "psi ~ (dK_2/K)^(1/2)" if tilt is None else "psi ~ (3/rho) l^-1",
            "derived",
        ),
        Asymptotic(
            "p_V", 2 * p_0 - 1, N / 3 * kernel**2, "V ~ (N/3) K^2 l",
            "PDLT (5.127)" if book else "derived",
        ),
        Asymptotic(
            "p_1", p_0 - 1, -(1 + q) * N / 12 * kernel, "G1 ~ -((1+q) N/12) K l",
            "PDLT (5.134)" if book else "derived",
        ),
    )  # fmt: skip


def _logarithmic(N: float) -> tuple[Asymptotic, ...]:
    return (
        Asymptotic("p_0", 0.0, None, "K ~ 1/log l", "derived"),
        Asymptotic("p_parallel", 1.0, None, "dK_1 ~ l^-1 up to logarithms", "derived"),
        Asymptotic("p_perp", 0.0, None, "dK_2 ~ K up to logarithms", "derived"),
        Asymptotic("p_psi", 0.0, None, "psi changes like a power of log l at most", "derived"),
        Asymptotic("p_V", -1.0, None, "V ~ (N/3) K^2 l", "derived"),
        # q grows like 1/(2 K) as K falls, so that (1 + q) K tends to 1/2.
        Asymptotic("p_1", -1.0, -N / 24, "G1 ~ -(N/24) l", "derived"),
    )


def half_stable(K: float, drift: float, tilt: float, vertex: float) -> tuple[Asymptotic, ...]:
    """Return the asymptotics about a half-stable point, from its attracting side.

    They hold for l >> 1/|a~_1 (K^(1) - K*)|; before that the kernel hardly moves, V grows like
    w* K*^2 l and everything looks scale-invariant.

    Args:
        K: the fixed point K*.
        drift: a~_1 = C_W g''(K*)/2, PDLT (5.102).
        tilt: d chi_perp/dK at K*.
        vertex: w* = C_W^2 Var(sigma^2)/K*^2.

    Returns:
        One entry for each exponent.
    """
    p_perp = tilt / drift
    return (
        Asymptotic("p_0", 0.0, K, "K = K* + 1/((-a~_1) l)", "PDLT (5.103)"),
        Asymptotic("p_parallel", 2.0, None, "dK_1 ~ l^-2", "derived from PDLT (5.102)"),
        Asymptotic("p_perp", p_perp, None, "dK_2 ~ l^-(chi_perp'/a~_1)", "derived"),
        Asymptotic("p_psi", p_perp / 2, None, "psi ~ (dK_2/K*)^(1/2)", "derived"),
        Asymptotic("p_V", -1.0, vertex * K**2, "V = w* K*^2 l while K = K*", "derived"),
        Asymptotic(
            "p_1", -2.0, drift * vertex * K**2 / 2, "G1 = (a~_1 w* K*^2/2) l^2 while K = K*",
            "derived",
        ),
    )  # fmt: skip
