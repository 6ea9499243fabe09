r"""Four factors of a scale-invariant activation at four inputs, by one integral in one dimension.

    sigma(z) = z s(z),  s = sigma' = a_+ (z > 0), a_- (z < 0),   s' = kappa delta,  kappa = a_+ - a_-

For unit variances and correlations R, with R(t) = 1 + t (R - 1), Plackett's identity (Price's
theorem for s) gives the orthant probability of the signs,

    <s_1 s_2 s_3 s_4> = a^4 + kappa^2 int_0^1 dt sum_{i<j} R_ij <s_k s_l>_{z_i = z_j = 0}
                                                     / (2 pi (1 - t^2 R_ij^2)^(1/2)),

with a = (a_+ + a_-)/2, and integration by parts, <z_1 f> = sum_m R_1m <d_m f>, takes every factor
sigma = z s to it and to expectations with one variable fixed at zero, which are closed forms:

    <sigma_1 sigma_2 s_3 s_4>   = R_12 <s s s s> + (2 pi)^(-1/2) kappa sum_{m != 2} R_1m <...>_{z_m=0}
    <sigma_1 .. sigma_4>        = sum_{m != 1} R_1m <s_1 s_m sigma sigma>
                                  + (2 pi)^(-1/2) kappa <sigma_2 sigma_3 sigma_4>_{z_1 = 0}
"""

from functools import lru_cache
from itertools import combinations, combinations_with_replacement, permutations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from finitewidth.activations import PiecewiseLinear

#: Gauss-Legendre nodes of the angle t = sin(theta).
NODES = 24

#: Correlations are kept this far from 1 and -1, where angles at fixed variables have no meaning.
DISTANCE = 1e-13

Orders = tuple[int, int, int, int]
#: Covariances C_xy of some of the slots 0..3, each an array over quadruples of inputs.
Covariances = dict[tuple[int, int], Array]


def piecewise_linear_four(
    activation: PiecewiseLinear, K: Float[Array, "N N"], orders: Orders
) -> Float[Array, "N N N N"]:
    """Return <D^m1 sigma_a D^m2 sigma_b D^m3 sigma_c D^m4 sigma_d>_K for all quadruples.

    Args:
        activation: sigma.
        K: kernel, shape (N, N), may be singular.
        orders: 0 or 1 for each factor, an even number of zeros.

    Returns:
        The tensor, shape (N, N, N, N), by the general formula everywhere: entries with repeated
        inputs are limits, good to 1e-6.

    Accuracy: 1e-8 of the product of the norms while |correlations| < 0.99, 1e-5 closer to 1.

    Cost: O(N^4) memory; N^4/24 quadruples of some microseconds.
    """
    scale = jnp.sqrt(jnp.diagonal(K))
    safe = jnp.where(scale > 0, scale, 1.0)
    R = jnp.clip(K / (safe[:, None] * safe), -1 + DISTANCE, 1 - DISTANCE)
    # A zero input is at a right angle to all others, as in the two-input forms.
    R = jnp.where((scale[:, None] > 0) & (scale > 0), R, 0.0)
    sorted_inputs, where, undifferentiated = _sorted_quadruples(K.shape[0], orders)
    slots = [sorted_inputs[:, k] for k in range(4)]
    C = {(i, i): jnp.ones(len(slots[0])) for i in range(4)}
    for i, j in combinations(range(4), 2):
        C[i, j] = C[j, i] = R[slots[i], slots[j]]
    moments = _Moments(activation, C)
    match orders.count(0):
        case 0:
            few = moments.slopes()[None]
        case 2:
            slopes = moments.slopes()
            few = jnp.stack([moments.mixed(i, j, slopes) for i, j in combinations(range(4), 2)])
        case 4:
            few = moments.values()[None]
        case zeros:
            raise ValueError(f"orders: wanted 0, 2 or 4 factors sigma, got {zeros}.")
    tensor = few[undifferentiated, where]
    for axis, order in enumerate(orders):
        if order == 0:
            tensor = tensor * scale.reshape([-1 if k == axis else 1 for k in range(4)])
    return tensor


class _Moments:
    """Expectations over four slots with unit variances, one number for each quadruple."""

    def __init__(self, activation: PiecewiseLinear, C: Covariances):
        self.C = C
        self.kappa = activation.a_plus - activation.a_minus
        self.mean = (activation.a_plus + activation.a_minus) / 2
        self.square = (activation.a_plus**2 + activation.a_minus**2) / 2
        #: kappa times the density at zero of a variable of unit variance.
        self.jump = self.kappa / np.sqrt(2 * np.pi)

    def two_slopes(self, C: Covariances, x: int, y: int) -> Array:
        """Return <s_x s_y>."""
        psi, _, _ = _angle(C, x, y)
        return self.square - self.kappa**2 * psi / (2 * np.pi)

    def two_values(self, C: Covariances, x: int, y: int) -> Array:
        """Return <sigma_x sigma_y>."""
        psi, sin, cos = _angle(C, x, y)
        size = jnp.sqrt(C[x, x] * C[y, y])
        return size * (self.kappa**2 * (sin - psi * cos) / (2 * np.pi) + self.square * cos)

    def one_value(self, C: Covariances, a: int, b: int, c: int) -> Array:
        """Return <sigma_a s_b s_c>."""
        total = 0.0
        for m in (a, b, c):
            others = [x for x in (a, b, c) if x != m]
            density = self.jump / jnp.sqrt(C[m, m])
            total = total + C[a, m] * density * self.two_slopes(_fixed(C, m, others), *others)
        return jnp.asarray(total)

    def three_values(self, C: Covariances, a: int, b: int, c: int) -> Array:
        """Return <sigma_a sigma_b sigma_c>."""
        fixed = _fixed(C, a, [b, c])
        return (
            self.jump * jnp.sqrt(C[a, a]) * self.two_values(fixed, b, c)
            + C[a, b] * self.one_value(C, c, a, b)
            + C[a, c] * self.one_value(C, b, a, c)
        )

    def slopes(self) -> Array:
        """Return <s_1 s_2 s_3 s_4>."""
        x, w = np.polynomial.legendre.leggauss(NODES)
        theta = np.pi / 4 * (x + 1)
        t, dt = np.sin(theta), np.pi / 4 * w * np.cos(theta)
        C = {key: value[:, None] * (1 if key[0] == key[1] else t) for key, value in self.C.items()}
        total = jnp.zeros_like(C[0, 1])
        for i, j in combinations(range(4), 2):
            k, l = (x for x in range(4) if x not in (i, j))
            fixed = _fixed(_fixed(C, i, [j, k, l]), j, [k, l])
            density = 1 / jnp.sqrt(1 - C[i, j] ** 2)
            total = total + self.C[i, j][:, None] * density * self.two_slopes(fixed, k, l)
        return self.mean**4 + self.kappa**2 / (2 * np.pi) * (total * dt).sum(axis=1)

    def mixed(self, a: int, b: int, slopes: Array) -> Array:
        """Return <sigma_a sigma_b s_c s_d>."""
        c, d = (x for x in range(4) if x not in (a, b))
        total = self.C[a, b] * slopes
        for m in (a, c, d):
            others = [x for x in (a, c, d) if x != m]
            fixed = _fixed(self.C, m, [b, *others])
            total = total + self.C[a, m] * self.jump * self.one_value(fixed, b, *others)
        return total

    def values(self) -> Array:
        """Return <sigma_1 sigma_2 sigma_3 sigma_4>."""
        slopes = self.slopes()
        total = self.jump * self.three_values(_fixed(self.C, 0, [1, 2, 3]), 1, 2, 3)
        for m in (1, 2, 3):
            x, y = (x for x in (1, 2, 3) if x != m)
            total = total + self.C[0, m] * self.mixed(x, y, slopes)
        return total


def _fixed(C: Covariances, m: int, others: list[int]) -> Covariances:
    """Return the covariances of some variables where variable m is zero."""
    fixed: Covariances = {}
    for x, y in combinations_with_replacement(others, 2):
        rest = C[x, y] - C[x, m] * C[y, m] / C[m, m]
        fixed[x, y] = fixed[y, x] = jnp.maximum(rest, DISTANCE) if x == y else rest
    return fixed


def _angle(C: Covariances, x: int, y: int) -> tuple[Array, Array, Array]:
    size = jnp.sqrt(C[x, x] * C[y, y])
    cos = jnp.clip(C[x, y] / size, -1 + DISTANCE, 1 - DISTANCE)
    sin = jnp.sqrt((1 - cos) * (1 + cos))
    return jnp.arctan2(sin, cos), sin, cos


@lru_cache(maxsize=16)
def _sorted_quadruples(
    N: int, orders: Orders
) -> tuple[Int[np.ndarray, "Q 4"], Int[np.ndarray, "N N N N"], Int[np.ndarray, "N N N N"]]:
    """Return quadruples a <= b <= c <= d, where each (a, b, c, d) is, and its kind.

    The kind is the number of the pair of sorted slots that carry the two factors sigma, if two
    of the four do, and 0 otherwise.
    """
    quadruples = np.array(list(combinations_with_replacement(range(N), 4)))
    where = np.zeros((N,) * 4, dtype=np.int32)
    kind = np.zeros((N,) * 4, dtype=np.int8)
    pairs = list(combinations(range(4), 2))
    for permutation in permutations(range(4)):
        # Slot k of the tensor holds the sorted input number permutation[k].
        a, b, c, d = (quadruples[:, number] for number in permutation)
        where[a, b, c, d] = np.arange(len(quadruples))
        if orders.count(0) == 2:
            held = sorted(permutation[k] for k in range(4) if orders[k] == 0)
            kind[a, b, c, d] = pairs.index((held[0], held[1]))
    return quadruples, where, kind
