"""The recursions as the book prints them, with inverse kernels, by tensor-product quadrature.

This is the second road for `finitewidth.flow`: it shares no formula with the local form.
"""

import numpy as np


def gaussian_nodes(K, nodes=48):
    """Return nodes z (M, N) and weights (M,) of <.>_K from a trapezoid rule along each axis."""
    u = np.linspace(-7.2, 7.2, nodes)
    w = np.exp(-(u**2) / 2)
    w /= w.sum()
    grids = np.meshgrid(*[u] * len(K), indexing="ij")
    weights = np.ones_like(grids[0])
    for axis in range(len(K)):
        weights = weights * w.reshape([-1 if a == axis else 1 for a in range(len(K))])
    z = np.stack([g.ravel() for g in grids], axis=1) @ np.linalg.cholesky(K).T
    return z, weights.ravel()


def book_step(sigma, K, G1, V, C_b, C_W, ratio, nodes=48):
    """Take (K, G1, V) from layer l to l+1 by PDLT (4.118), (4.119), (4.115)."""
    z, w = gaussian_nodes(K, nodes)
    s = np.asarray(sigma(z))
    inverse = np.linalg.inv(K)
    ss = np.einsum("ma,mb->mab", s, s)
    zz = np.einsum("mi,mj->mij", z, z) - K
    mean = np.einsum("m,mab->ab", w, ss)
    raised = np.einsum("ai,bj,ck,dl,abcd->ijkl", inverse, inverse, inverse, inverse, V)

    first = np.einsum("m,mab,mij->abij", w, ss, zz)
    moment = np.einsum("m,mab,mcd->abcd", w, ss, ss)
    V_next = C_W**2 * (moment - np.multiply.outer(mean, mean)) + 0.25 * ratio * C_W**2 * np.einsum(
        "abij,ijkl,cdkl->abcd", first, raised, first
    )

    second = np.einsum("m,mab,mij,mkl->abijkl", w, ss, zz, zz)
    third = -2 * (first + np.multiply.outer(mean, K)) + np.multiply.outer(mean, K)
    G1_next = (
        ratio
        * C_W
        * (
            0.5 * np.einsum("ik,jl,kl,abij->ab", inverse, inverse, G1, first)
            + 0.125 * np.einsum("ijkl,abijkl->ab", raised, second)
            + 0.25 * np.einsum("ikjl,kl,abij->ab", raised, K, third)
        )
    )
    return C_b + C_W * mean, G1_next, V_next


def random_fluctuations(rng, N):
    """Return a symmetric G1 (N, N) and a V (N, N, N, N) with the symmetries of a vertex."""
    G1 = rng.normal(size=(N, N))
    B = rng.normal(size=(6, N, N))
    B = B + B.transpose(0, 2, 1)
    return G1 + G1.T, np.einsum("mab,mcd->abcd", B, B) / 6
