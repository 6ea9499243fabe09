"""The angle of a point in the plane, atan2(y, x), in arithmetic that a compiler can vectorize.

The angle between two inputs is what most closed forms spend their time on, and the library
function is evaluated number by number. Here the angle is the arcsine of the smaller leg over the
hypotenuse, r <= 1/sqrt 2, by the rational approximation

    asin(r) = r + r z P(z)/Q(z),   z = r^2,  |r| <= 1/2,

of the FreeBSD/Sun mathematical library (e_asin.c, 1993), and by the half-angle formula
asin(r) = pi/2 - 2 asin(sqrt((1 - r)/2)) above 1/2.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_P = (
    3.47933107596021167570e-05,
    7.91534994289814532176e-04,
    -4.00555345006794114027e-02,
    2.01212532134862925881e-01,
    -3.25565818622400915405e-01,
    1.66666666666666657415e-01,
)
_Q = (
    7.70381505559019352791e-02,
    -6.88283971605453293030e-01,
    2.02094576023350569471e00,
    -2.40339491173441421878e00,
    1.0,
)


@jax.custom_jvp
def angle(y: Float[Array, "..."], x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return the angle of the points (x, y) in [-pi, pi], 0 at the origin.

    Args:
        y: ordinates, any shape.
        x: abscissas, a shape that broadcasts.

    Returns:
        The angles; relative error below 1e-15 for legs whose squares do not under- or overflow.
    """
    hypotenuse = jnp.sqrt(x * x + y * y)
    steep = jnp.abs(y) > jnp.abs(x)
    leg = jnp.minimum(jnp.abs(x), jnp.abs(y))
    r = leg / jnp.where(hypotenuse > 0, hypotenuse, 1.0)
    large = r > 0.5
    z = jnp.where(large, (1 - r) / 2, r * r)
    s = jnp.where(large, jnp.sqrt(z), r)
    arcsine = s + s * z * _polynomial(_P, z) / _polynomial(_Q, z)
    result = jnp.where(large, math.pi / 2 - 2 * arcsine, arcsine)
    result = jnp.where(steep, math.pi / 2 - result, result)
    result = jnp.where(x < 0, math.pi - result, result)
    return jnp.where(y < 0, -result, result)


@angle.defjvp
def _angle_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    y, x = primals
    dy, dx = tangents
    square = x * x + y * y
    square = jnp.where(square > 0, square, 1.0)
    return angle(y, x), (x * dy - y * dx) / square


def _polynomial(coefficients: tuple[float, ...], z: Array) -> Array:
    total = jnp.full_like(z, coefficients[0])
    for coefficient in coefficients[1:]:
        total = total * z + coefficient
    return total
