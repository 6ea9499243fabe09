r"""The effective action of m neurons of a layer: quadratic and quartic couplings, and the density.

    S(z) = g^{ab} sum_i z_ia z_ib / 2 - v^{(ab)(cd)} sum_ij z_ia z_ib z_jc z_jd / 8
                                                                    PDLT (4.44), (4.80)-(4.83)
    v^{(ab)(cd)} = V^{(ab)(cd)}/n_{l-1}                             indices raised with K^{-1}
    g_ab = K_ab + [G^{1}_ab - K^{cd} (m V_(ab)(cd)/2 + V_(ac)(bd))]/n_{l-1}    PDLT (4.108), (4.109)

m counts the neurons that are kept: the couplings run with it, PDLT (4.100), and with the layer. The
couplings are what is left when the random metric G^ is averaged over, p(z) = E[N(z; 0, G^)].

The density itself needs no raised index. With Q = sum_i (K^{-1} z_i)(K^{-1} z_i)^T and
A = Q - m K^{-1}, to first order in 1/n and normalized,

    p(z)/p_0(z) = 1 + c(z)/n_{l-1},      p_0 = N(0, K) for each neuron,
    c = G^{1}:A/2 + A:V:A/8 + [m tr(K^{-1} C) - 2 tr(C Q)]/4,      C_ab = V_(ac)(db) K^{cd}.

1 + c/n is not a density everywhere: for one input it is smallest where sum_i z_i^2 = (m+2) K, and
negative there once (m+2) V/(4 n_{l-1} K^2) > 1. log p_0 + c/n is the same to this order and always
the logarithm of something positive, but that is normalized only to O(1/n^2), and not at all far
out, where c grows like z^4.
"""

import equinox as eqx
import jax.numpy as jnp
import jax.scipy.linalg as jsl
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.flow.preactivations import Preactivations
from finitewidth.precision import in_double_precision
from finitewidth.tensors.pair_tensor import PairTensor
from finitewidth.validation import check_count, is_concrete


class EffectiveAction(eqx.Module):
    """The law of m neurons of one layer to first order in 1/width, as an action.

    Attributes:
        kernel: K, shape (N, N), invertible.
        nlo_metric: G^{1} in units of 1/n_{l-1}, shape (N, N).
        vertex: V in units of 1/n_{l-1}, an operator on pairs of inputs.
        fan_in: n_{l-1}.
        neurons: m, how many neurons are kept.
    """

    kernel: Float[Array, "N N"]
    nlo_metric: Float[Array, "N N"]
    vertex: PairTensor
    fan_in: Float[Array, ""]
    neurons: int = eqx.field(static=True)

    @property
    @in_double_precision
    def lowered_quadratic(self) -> Float[Array, "N N"]:
        """g_ab, the inverse of the quadratic coupling to first order, PDLT (4.108)."""
        return self.kernel + self._shift / self.fan_in

    @property
    @in_double_precision
    def quadratic(self) -> Float[Array, "N N"]:
        """g^{ab}, the quadratic coupling to first order, PDLT (4.109)."""
        inverse = self._inverse
        return inverse - inverse @ self._shift @ inverse / self.fan_in

    @property
    @in_double_precision
    def quartic(self) -> Float[Array, "N N N N"]:
        """v^{(ab)(cd)}, the quartic coupling, PDLT (4.82); positive as an operator on pairs."""
        inverse = self._inverse
        dense = self.vertex.dense() / self.fan_in
        return jnp.einsum(
            "ia,jb,kc,ld,abcd->ijkl", inverse, inverse, inverse, inverse, dense, optimize=True
        )

    @in_double_precision
    def action(self, z: ArrayLike) -> Float[Array, "*batch"]:
        """Evaluate S(z), PDLT (4.80).

        Args:
            z: preactivations of the m neurons, shape (..., m, N).

        Returns:
            S, shape (...). p = exp(-S - log Z) to first order. The quartic term is negative: S is
            not bounded from below, only its expansion means something.
        """
        z = self._check(z)
        Q = self._raised_square(z)
        quadratic = jnp.einsum("...ia,...ib,ab->...", z, z, self.quadratic)
        return quadratic / 2 - self.vertex.contract(Q, Q) / (8 * self.fan_in)

    @property
    @in_double_precision
    def log_partition(self) -> Float[Array, ""]:
        """Log of Z, the integral of exp(-S), to first order, PDLT (4.45).

        log Z = m log|2 pi g|/2 + v^{(ab)(cd)} (m^2 g_ab g_cd + 2 m g_ac g_bd)/8, g lowered.
        """
        inverse, m = self._inverse, self.neurons
        determinant = jnp.linalg.slogdet(2 * jnp.pi * self.kernel)[1]
        first = jnp.einsum("ab,ab->", inverse, self._shift)
        pairs = self.vertex.contract(inverse, inverse)
        crossed = jnp.einsum("ab,ab->", inverse, self._crossed)
        # log|g| to first order, as everywhere.
        return m * (determinant + first / self.fan_in) / 2 + (m**2 * pairs + 2 * m * crossed) / (
            8 * self.fan_in
        )

    @in_double_precision
    def correction(self, z: ArrayLike) -> Float[Array, "*batch"]:
        """Return c(z)/n_{l-1}, how much the density of m neurons differs from the Gaussian's.

        p/p_0 = 1 + c/n_{l-1}, which has the integral 1 under p_0 exactly.

        Args:
            z: preactivations of the m neurons, shape (..., m, N).

        Returns:
            c/n_{l-1}, shape (...); once it is of order 1, the expansion has ended. Cost: a
            Cholesky solve and two contractions of the vertex for each z.

        Raises:
            ValueError: if z does not have the shape (..., m, N) or the kernel is singular.

        Example:
            >>> import finitewidth as fw
            >>> net = fw.MLP.critical(widths=(1, 100, 100, 2), activation="relu")
            >>> action = effective_action(fw.flow.preactivations(net, [[1.0]]), 3)
            >>> [round(float(c), 4) for c in action.correction([[[0.0], [0.0]], [[3.0], [3.0]]])]
            [0.1, 0.2125]
        """
        return self._compiled_correction(self._check(z))

    @eqx.filter_jit
    def _compiled_correction(self, z: Float[Array, "*batch m N"]) -> Float[Array, "*batch"]:
        Q = self._raised_square(z)
        inverse, m, C = self._inverse, self.neurons, self._crossed
        A = Q - m * inverse
        first = jnp.einsum("ab,...ab->...", self.nlo_metric, A) / 2
        second = self.vertex.contract(A, A) / 8
        third = (m * jnp.einsum("ab,ab->", inverse, C) - 2 * jnp.einsum("ab,...ba->...", C, Q)) / 4
        return (first + second + third) / self.fan_in

    @in_double_precision
    def log_density(self, z: ArrayLike) -> Float[Array, "*batch"]:
        """Return log p_0(z) + c(z)/n_{l-1}, the log density to first order.

        Args:
            z: preactivations of the m neurons, shape (..., m, N).

        Returns:
            The logarithm, shape (...), where the correction is small: exp of it integrates to
            1 + O(1/n^2) over that region, but grows without bound far out.
        """
        return self.log_gaussian(z) + self.correction(z)

    @in_double_precision
    def log_gaussian(self, z: ArrayLike) -> Float[Array, "*batch"]:
        """Return log p_0(z), independent neurons N(0, K), the law at infinite width."""
        z = self._check(z)
        square = jnp.einsum("...ia,...ia->...", z, self._solve(z))
        determinant = jnp.linalg.slogdet(2 * jnp.pi * self.kernel)[1]
        return -(square + self.neurons * determinant) / 2

    @in_double_precision
    def two_point(self) -> Float[Array, "N N"]:
        """Return E[z_ia z_ib] from the couplings, PDLT (4.47); K + G^{1}/n_{l-1} for any m.

        g_ab + v^{(..)(..)} (m g_a. g_b. g_.. + 2 g_a. g_b. g_..)/2 to first order.
        """
        raised = self.neurons * self.vertex.apply(self._inverse) + 2 * self._crossed
        return self.lowered_quadratic + raised / (2 * self.fan_in)

    @in_double_precision
    def connected_four_point(self) -> Float[Array, "N N N N"]:
        """Return v with its indices lowered by g, PDLT (4.48); Cov[z_1a z_1b, z_2c z_2d].

        It is V/n_{l-1} up to O(1/n^2).
        """
        g = self.lowered_quadratic
        return jnp.einsum("ia,jb,kc,ld,abcd->ijkl", g, g, g, g, self.quartic, optimize=True)

    def with_neurons(self, neurons: int) -> "EffectiveAction":
        """Return the action of another number of neurons, the others integrated out.

        Raises:
            ValueError: if it is not positive.
        """
        check_count(neurons, "neurons")
        return EffectiveAction(self.kernel, self.nlo_metric, self.vertex, self.fan_in, neurons)

    def __repr__(self) -> str:
        return (
            f"EffectiveAction of {self.neurons} neurons on {self.kernel.shape[0]} inputs, "
            f"fan-in {int(self.fan_in)}"
        )

    @property
    def _shift(self) -> Float[Array, "N N"]:
        return self.nlo_metric - self.neurons / 2 * self.vertex.apply(self._inverse) - self._crossed

    @property
    def _inverse(self) -> Float[Array, "N N"]:
        return jsl.cho_solve(self._root, jnp.eye(self.kernel.shape[0]))

    @property
    def _crossed(self) -> Float[Array, "N N"]:
        return self.vertex.crossed(self._inverse)

    @property
    def _root(self) -> tuple[Float[Array, "N N"], bool]:
        return jsl.cho_factor(self.kernel, lower=True)

    def _solve(self, z: Float[Array, "*batch m N"]) -> Float[Array, "*batch m N"]:
        flat = z.reshape(-1, z.shape[-1])
        return jsl.cho_solve(self._root, flat.T).T.reshape(z.shape)

    def _raised_square(self, z: Float[Array, "*batch m N"]) -> Float[Array, "*batch N N"]:
        y = self._solve(z)
        return jnp.einsum("...ia,...ib->...ab", y, y)

    def _check(self, z: ArrayLike) -> Float[Array, "*batch m N"]:
        array = jnp.asarray(z, dtype=float)
        wanted = (self.neurons, self.kernel.shape[0])
        if array.shape[-2:] != wanted:
            raise ValueError(
                f"z: wanted shape (..., m neurons, N inputs) = (..., {wanted[0]}, {wanted[1]}), "
                f"got {array.shape}."
            )
        return array


@in_double_precision
def effective_action(
    pre: Preactivations, layer: int, neurons: int | None = None
) -> EffectiveAction:
    """Return the effective action of m neurons of a layer, PDLT (4.80)-(4.83), (4.109).

    Args:
        pre: statistics of order 1.
        layer: l, from 1 to L.
        neurons: m; all n_l of the layer if None. The expansion is in m V/(n_{l-1} K^2).

    Returns:
        The action, with couplings, density and correlators.

    Raises:
        ValueError: for statistics of order 0, a layer that does not exist, or a kernel that is
            singular (coincident inputs): its density does not exist.

    Cost: O(N^3), and O(N^4) for a dense vertex; `quartic` costs O(N^5).

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP.critical(widths=(1, 100, 100, 1), activation="linear")
        >>> action = effective_action(fw.flow.preactivations(net, [[1.0]]), 3)
        >>> float(action.quartic[0, 0, 0, 0]), float(action.with_neurons(2).quadratic[0, 0])
        (0.04, 1.08)
    """
    K, G1, V, fan_in = first_order_of_layer(pre, layer)
    if is_concrete(K):
        eigenvalues = np.linalg.eigvalsh(np.asarray(K))
        if eigenvalues[0] <= 1e-13 * eigenvalues[-1]:
            raise ValueError(
                "kernel: wanted an invertible kernel, got one with smallest and largest eigenvalue "
                f"{eigenvalues[0]:.3g} and {eigenvalues[-1]:.3g}; leave out inputs that coincide."
            )
    neurons = pre.net.widths[layer] if neurons is None else check_count(neurons, "neurons")
    return EffectiveAction(K, G1, V, jnp.asarray(float(fan_in)), neurons)


def first_order_of_layer(
    pre: Preactivations, layer: int
) -> tuple[Float[Array, "N N"], Float[Array, "N N"], PairTensor, int]:
    """Return K, G^{1}, V and n_{l-1} of one layer, or say why they are not there.

    Raises:
        ValueError: for statistics of order 0 or a layer outside 1 .. L.
    """
    if pre.nlo_metric is None or pre.vertex is None:
        raise ValueError("pre: wanted statistics of order 1, got order 0; use order=1.")
    layer = check_count(layer, "layer")
    if layer > pre.kernel.shape[0]:
        raise ValueError(f"layer: wanted 1 to {pre.kernel.shape[0]}, got {layer}.")
    at = layer - 1
    return pre.kernel[at], pre.nlo_metric[at], pre.vertex[at], pre.net.widths[at]
