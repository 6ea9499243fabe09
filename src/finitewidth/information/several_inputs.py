r"""Information between neurons on several inputs, to leading order in 1/width.

Let W_(12)(34) = Cov(G^_12, G^_34) and let indices be raised with K^-1. With

    T = W_(12)(34) W^(12)(34),      U = W_(12)(34) W^(13)(24)

the entropy of m neurons on all inputs and the information between m_1 and m_2 of them are

    S = (m/2) log|2 pi e G| - (m^2 T + 2 m U)/16,        I(m_1, m_2) = m_1 m_2 T/8 ,

derived here: it answers the question of footnote 22 of PDLT appendix A. With D = G^ - G, the
chi-square divergence of p(z_1 .. z_m) = E[prod_i N(z_i; 0, G^)] from the Gaussian of covariance G
is, without any expansion, an average over two independent networks,

    chi^2 = E det(1 - G^-1 D G^-1 D')^(-m/2) - 1,

a product of two Gaussian densities over a third. The first order in D D' averages to zero, the
second, [m^2 (tr G^-1 D G^-1 D')^2 + 2 m tr (G^-1 D G^-1 D')^2]/8, to (m^2 T + 2 m U)/8. Near the
Gaussian the entropy deficit is half of that. For one input T = U = x^2, PDLT (A.52), (A.53).
"""

import equinox as eqx
import jax.numpy as jnp
import jax.scipy.linalg as jsl
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from finitewidth.flow.effective_action import first_order_of_layer
from finitewidth.flow.preactivations import preactivations
from finitewidth.information.gaussian_entropy import gaussian_entropy
from finitewidth.network import MLP
from finitewidth.precision import in_double_precision
from finitewidth.validation import check_count, check_layer, is_concrete


class SeveralInputs(eqx.Module):
    """What the neurons of a layer share, on N inputs together, to leading order in 1/width.

    Attributes:
        metric: K + G^{1}/n_{l-1}, the covariance of a neuron over the ensemble, shape (N, N).
        T: W_(12)(34) W^(12)(34), of order 1/n^2.
        U: W_(12)(34) W^(13)(24), of order 1/n^2.
    """

    metric: Float[Array, "N N"]
    T: Float[Array, ""]
    U: Float[Array, ""]

    @in_double_precision
    def entropy_deficit(self, m: int = 1) -> Float[Array, ""]:
        """Compute (m^2 T + 2 m U)/16, by how much m neurons are below the Gaussian entropy."""
        m = check_count(m, "m")
        return (m**2 * self.T + 2 * m * self.U) / 16

    @in_double_precision
    def entropy(self, m: int = 1) -> Float[Array, ""]:
        """Compute the entropy of m neurons on all inputs, (m/2) log|2 pi e G| - deficit."""
        return gaussian_entropy(self.metric, m) - self.entropy_deficit(m)

    @in_double_precision
    def mutual_information(self, m1: int = 1, m2: int = 1) -> Float[Array, ""]:
        """Compute m1 m2 T/8, what m1 neurons tell about m2 others on all inputs."""
        return check_count(m1, "m1") * check_count(m2, "m2") * self.T / 8

    def __repr__(self) -> str:
        return (
            f"Neurons on {self.metric.shape[0]} inputs: T = {float(self.T):.4g}, "
            f"U = {float(self.U):.4g}, I(1, 1) = {float(self.mutual_information()):.4g} nats"
        )


@in_double_precision
def neuron_information_of(
    net: MLP, x: Float[ArrayLike, "N n0"], layer: int | None = None
) -> SeveralInputs:
    """Compute T and U of a layer of a network on several inputs, and all that follows from them.

    Args:
        net: the network.
        x: inputs, shape (N, n_0), with an invertible kernel.
        layer: l = 1 .. L; the output layer if None.

    Returns:
        Entropies and informations of any number of neurons, through O(1/n^2).

    Raises:
        ValueError: for bad inputs, a layer that does not exist, a kernel that is singular
            (coincident inputs), or what `flow.preactivations` refuses.

    Accuracy: that of `flow.preactivations`, times the condition number of the kernel squared.

    Cost: that of `flow.preactivations` at order 1, and O(N^5).

    Example:
        >>> net = MLP.critical(widths=(1, 100, 1), activation="relu")
        >>> one = neuron_information_of(net, [[1.0]])
        >>> round(float(one.T), 9), round(float(one.U), 9)  # (5/100)^2
        (0.0025, 0.0025)
    """
    pre = preactivations(net, x, order=1)
    K, G1, V, fan_in = first_order_of_layer(pre, check_layer(layer, net.depth))
    if is_concrete(K):
        eigenvalues = np.linalg.eigvalsh(np.asarray(K))
        if eigenvalues[0] <= 1e-13 * eigenvalues[-1]:
            raise ValueError(
                "x: wanted inputs with an invertible kernel, got one with smallest and largest "
                f"eigenvalue {eigenvalues[0]:.3g} and {eigenvalues[-1]:.3g}."
            )
    return SeveralInputs(K + G1 / fan_in, *contractions(K, V.dense() / fan_in))


@in_double_precision
def neuron_mutual_information_of(
    net: MLP, x: Float[ArrayLike, "N n0"], m1: int = 1, m2: int = 1, layer: int | None = None
) -> Float[Array, ""]:
    """Compute what m1 neurons of a layer tell about m2 others on several inputs, m1 m2 T/8.

    Derived here, see the module.

    Args:
        net: the network.
        x: inputs, shape (N, n_0), with an invertible kernel.
        m1: size of one group.
        m2: size of the other.
        layer: l = 1 .. L; the output layer if None.

    Returns:
        The information in nats, leading order, O(1/n^2).

    Raises:
        ValueError: as for `neuron_information_of`.

    Example:
        >>> net = MLP.critical(widths=(2, 50, 1), activation="linear")
        >>> one = neuron_mutual_information_of(net, [[1.0, 0.0]])
        >>> two = neuron_mutual_information_of(net, [[1.0, 0.0], [0.0, 1.0]])
        >>> [round(float(i) * 50**2, 6) for i in (one, two)]
        [0.5, 1.5]
    """
    return neuron_information_of(net, x, layer).mutual_information(m1, m2)


def contractions(
    K: Float[Array, "N N"], W: Float[Array, "N N N N"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Return T and U: W is turned to whitened inputs by triangular solves, one index at a time."""
    root = jnp.linalg.cholesky(K)
    inputs = K.shape[0]
    for _ in range(4):
        flat = jsl.solve_triangular(root, W.reshape(inputs, -1), lower=True)
        W = jnp.moveaxis(flat.reshape((inputs,) * 4), 0, 3)
    return jnp.einsum("abcd,abcd->", W, W), jnp.einsum("abcd,acbd->", W, W)
