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


def book_ntk_step(sigma, K, Theta, G1, H1, tensors, C_W, lambda_W, ratio, nodes=48):
    """Take V, D, A, F, B (a dict; F, B by sample number) and H1 to the next layer.

    PDLT (4.119), (8.77), (8.97), (8.79), (8.89) as printed, with inverse kernels, and the 1/n
    shift of the NTK mean with fourth-order Hermite polynomials in place of derivatives.
    """
    z, w = gaussian_nodes(K, nodes)
    s, ds = np.asarray(sigma(z)), np.asarray(sigma.derivative(z))
    inverse = np.linalg.inv(K)
    u = z @ inverse
    Q = np.einsum("mi,mj->mij", u, u) - inverse
    ss, dd = np.einsum("ma,mb->mab", s, s), np.einsum("ma,mb->mab", ds, ds)
    Omega = lambda_W * ss + C_W * Theta * dd
    slope = np.einsum("m,mab->ab", w, dd)
    V, D, A, F, B = (tensors[name] for name in "VDAFB")

    def mean(f):
        return np.tensordot(w, f, axes=1)

    def covariance(f, g):
        return np.einsum("m,mab,mcd->abcd", w, f - mean(f), g)

    def with_Q(f):
        return np.einsum("m,mab,mgk->abgk", w, f, Q)

    sQ, OQ, dQ = with_Q(ss), with_Q(Omega), with_Q(dd)
    through_V = {
        (i, j): 0.25 * np.einsum("abgk,gkmn,cdmn->abcd", f, V, g)
        for (i, f) in (("s", sQ), ("O", OQ))
        for (j, g) in (("s", sQ), ("O", OQ))
    }
    new = {
        "V": C_W**2 * (covariance(ss, ss) + ratio * through_V["s", "s"]),
        "D": C_W * (covariance(ss, Omega) + ratio * through_V["s", "O"])
        + ratio / 2 * C_W**2 * np.einsum("abgk,gkcd,cd->abcd", sQ, D, slope),
        "A": covariance(Omega, Omega)
        + ratio * through_V["O", "O"]
        + ratio * C_W**2 * np.einsum("ab,cd,abcd->abcd", slope, slope, A)
        + ratio / 2 * C_W * np.einsum("abgk,gkcd,cd->abcd", OQ, D, slope)
        + ratio / 2 * C_W * np.einsum("cdgk,gkab,ab->abcd", OQ, D, slope),
    }
    # Indices 1, 3, 2, 4 are a, c, b, d.
    leg = np.einsum("m,ma,mc,mg->acg", w, s, ds, u)
    new["F"] = C_W**2 * (
        np.einsum("m,ma,mb,mc,md,cd->acbd", w, s, s, ds, ds, Theta)
        + ratio * np.einsum("acg,bdk,gckd->acbd", leg, leg, F)
    )
    new["B"] = C_W**2 * (
        np.einsum("m,ma,mb,mc,md,ab,cd->acbd", w, ds, ds, ds, ds, Theta, Theta)
        + ratio * np.einsum("ac,bd,acbd->acbd", slope, slope, B)
    )

    # <d_g d_k d_m d_n f> = <f He_4>, He_4 the fourth Hermite polynomial in u.
    uu = np.einsum("mi,mj->mij", u, u)
    hermite = np.einsum("mgk,mrn->mgkrn", uu, uu)
    for p in ("gkrn", "grkn", "gnkr", "krgn", "kngr", "rngk"):
        hermite -= np.einsum(f"m{p[:2]},{p[2:]}->mgkrn", uu, inverse)
    for p in ("gkrn", "grkn", "gnkr"):
        hermite += np.einsum(f"{p[:2]},{p[2:]}->gkrn", inverse, inverse)
    of_V = np.einsum("mgkrn,gkrn->m", hermite, V) / 8
    drift_s, drift_d = (np.einsum("m,m,mab->ab", w, of_V, f) for f in (ss, dd))
    moved_s, moved_d = (np.einsum("abgk,gk->ab", f, G1) / 2 for f in (sQ, dQ))
    new["H1"] = ratio * (
        lambda_W * (moved_s + drift_s)
        + C_W
        * (
            slope * H1
            + Theta * (moved_d + drift_d)
            + np.einsum("abgk,gkab->ab", dQ, D) / 2
            + np.einsum("abgk,gakb->ab", dQ, F)
        )
    )
    return new


def random_ntk_fluctuations(rng, N):
    """Return V, D, A, F, B with the symmetries that they have in a network, H1 and Theta."""
    L, R = (rng.normal(size=(6, N, N)) for _ in range(2))
    L, R = L + L.transpose(0, 2, 1), R + R.transpose(0, 2, 1)
    X, Y = (rng.normal(size=(6, N, N)) for _ in range(2))
    tensors = {
        name: np.einsum("mab,mcd->abcd", left, right) / 6
        for name, left, right in (
            ("V", L, L),
            ("D", L, R),
            ("A", R, R),
            ("F", X, X),
            ("B", Y, Y),
        )
    }
    # B_1324 = B_3142: exchanging 1, 3 and 2, 4 at once changes nothing.
    tensors["B"] = (tensors["B"] + tensors["B"].transpose(1, 0, 3, 2)) / 2
    H1 = rng.normal(size=(N, N))
    Theta = rng.normal(size=(N, N)) / 2
    return tensors, H1 + H1.T, Theta @ Theta.T + np.eye(N)
