r"""Infinite width from measurements at several widths: a weighted fit in powers of 1/width.

$$O(n_k) = O_\infty + \sum_p c_p\,n_k^{-p} + \varepsilon_k,\qquad
\min_{O_\infty,c}\ \chi^2,\qquad
\chi^2 = \sum_k \Big[O(n_k)-O_\infty-\sum_pc_pn_k^{-p}\Big]^2/\varepsilon_k^2 .$$

The powers are 1, 2, ... for networks at initialization and for trained networks with a smooth
activation, and 1/2, 1, ... for trained networks with a kink (`Activation.width_powers`). Two
widths and the power 1 are Richardson's extrapolation.
"""

from collections.abc import Sequence

import equinox as eqx
import numpy as np
from jaxtyping import Float

from finitewidth.ensemble.estimate import Estimate


class WidthFit(eqx.Module):
    """A fitted limit of infinite width.

    Attributes:
        limit: O at infinite width, with its standard error.
        coefficients: c_p, shape (powers, ...).
        coefficient_errors: their standard errors, same shape.
        chi_squared: weighted sum of squares of what is left, shape (...).
        degrees_of_freedom: number of widths minus number of fitted numbers.
        powers: the powers p of 1/width.
        widths: the widths n_k.
    """

    limit: Estimate
    coefficients: Float[np.ndarray, "P ..."]
    coefficient_errors: Float[np.ndarray, "P ..."]
    chi_squared: Float[np.ndarray, "..."]
    degrees_of_freedom: int = eqx.field(static=True)
    powers: tuple[float, ...] = eqx.field(static=True)
    widths: tuple[float, ...] = eqx.field(static=True)

    def __repr__(self) -> str:
        basis = ", ".join(f"n^-{power:g}" for power in self.powers)
        quality = "no degree of freedom left"
        if self.degrees_of_freedom:
            ratio = float(np.mean(self.chi_squared)) / self.degrees_of_freedom
            quality = f"chi^2/dof {ratio:.2g} with {self.degrees_of_freedom} dof"
        return (
            f"WidthFit({repr(self.limit)[len('Estimate(') : -1]}; 1, {basis} at widths "
            f"{', '.join(f'{n:g}' for n in self.widths)}; {quality})"
        )


def fit_widths(
    widths: Sequence[float], estimates: Sequence[Estimate], powers: Sequence[float] = (1.0,)
) -> WidthFit:
    """Fit independent estimates at several widths and return their limit of infinite width.

    Args:
        widths: one width n_k per estimate, all different; where several hidden widths grow in
            proportion, any one of them.
        estimates: independent estimates of one shape.
        powers: the powers p of 1/width, fewer than there are widths.

    Returns:
        The fit, entry by entry. With as many widths as fitted numbers it goes through all points.
        An entry with no error at any width is fitted with equal weights and has no error.

    Raises:
        ValueError: for too few widths, equal or non-positive ones, powers that are not positive
            and different, estimates of different shapes, or entries whose error is zero at some
            widths only.

    Example:
        >>> points = [Estimate(np.array(3 + 2 / n), np.array(0.1), 100) for n in (10, 20, 40)]
        >>> fit = fit_widths((10, 20, 40), points)
        >>> round(float(fit.limit.value), 12), fit.degrees_of_freedom
        (3.0, 1)
    """
    n, p = np.asarray(widths, dtype=float), np.asarray(powers, dtype=float)
    if len(n) != len(estimates):
        raise ValueError(f"widths: wanted one per estimate ({len(estimates)}), got {len(n)}.")
    if len(set(n.tolist())) != len(n) or not (n > 0).all():
        raise ValueError(f"widths: wanted different positive numbers, got {n.tolist()}.")
    if len(set(p.tolist())) != len(p) or not (p > 0).all():
        raise ValueError(f"powers: wanted different positive numbers, got {p.tolist()}.")
    if len(n) <= len(p):
        raise ValueError(f"widths: wanted more than {len(p)}, the number of powers, got {len(n)}.")
    shapes = {np.shape(e.value) for e in estimates}
    if len(shapes) != 1:
        raise ValueError(f"estimates: wanted one shape, got {sorted(shapes)}.")
    values = np.stack([np.asarray(e.value, dtype=float) for e in estimates], axis=-1)
    errors = np.stack([np.asarray(e.standard_error, dtype=float) for e in estimates], axis=-1)
    exact = errors == 0
    if (exact.any(-1) & ~exact.all(-1)).any():
        raise ValueError("estimates: wanted errors that are positive at all widths or at none.")
    scale = n.min() ** p
    design = np.concatenate([np.ones((len(n), 1)), scale / n[:, None] ** p], axis=1)
    sigma = np.where(exact, 1.0, errors)
    weighted = design / sigma[..., None]
    # coefficients = answer @ values: a linear map, so that errors follow from it.
    answer = np.linalg.pinv(weighted) / sigma[..., None, :]
    coefficients = np.einsum("...pk,...k->p...", answer, values)
    spread = np.sqrt(np.einsum("...pk,...k->p...", answer**2, errors**2))
    left = values - np.einsum("kp,p...->...k", design, coefficients)
    chi_squared = ((left / sigma) ** 2).sum(-1) * ~exact.all(-1)
    back = scale.reshape((-1,) + (1,) * (values.ndim - 1))
    samples = min(e.samples for e in estimates)
    return WidthFit(
        limit=Estimate(coefficients[0], spread[0], samples),
        coefficients=coefficients[1:] * back,
        coefficient_errors=spread[1:] * back,
        chi_squared=chi_squared,
        degrees_of_freedom=len(n) - len(p) - 1,
        powers=tuple(p.tolist()),
        widths=tuple(n.tolist()),
    )
