"""The posterior of an ensemble of real networks, as numbers with error bars."""

from typing import TYPE_CHECKING

import equinox as eqx
import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    import xarray


class SampledMoments(eqx.Module):
    """Mean and covariance of the outputs and hidden kernels, measured; errors are one sigma.

    Attributes:
        mean: posterior mean of the outputs at the test inputs, shape (N_test, n_L).
        mean_error: its standard error.
        covariance: Cov(z_i;a, z_j;b) with entry [a, i, b, j], shape (N_test, n_L, N_test, n_L).
        covariance_error: its standard error.
        feature_kernels: posterior mean of (1/n_l) sum_j sigma_j sigma_j on training and then test
            inputs; entry l-1 is hidden layer l, shape (L-1, D, D).
        feature_kernels_error: its standard error.
    """

    mean: Float[np.ndarray, "N_test n_L"]
    mean_error: Float[np.ndarray, "N_test n_L"]
    covariance: Float[np.ndarray, "N_test n_L N_test n_L"]
    covariance_error: Float[np.ndarray, "N_test n_L N_test n_L"]
    feature_kernels: Float[np.ndarray, "H D D"]
    feature_kernels_error: Float[np.ndarray, "H D D"]

    @property
    def variance(self) -> Float[np.ndarray, "N_test n_L"]:
        """Posterior variance of the outputs, without observation noise, shape (N_test, n_L)."""
        return np.einsum("aiai->ai", self.covariance)

    @property
    def variance_error(self) -> Float[np.ndarray, "N_test n_L"]:
        """Standard error of the variance, shape (N_test, n_L)."""
        return np.einsum("aiai->ai", self.covariance_error)


class SampledPosterior(SampledMoments):
    """What networks that explain the labels do, to all orders in 1/n; errors are one sigma.

    Attributes beside those of `SampledMoments`:
        log_evidence: log density of the labels, natural logarithm.
        log_evidence_error: its standard error.
        effective_samples: (sum of weights)^2 / sum of squared weights.
        effective_samples_error: its standard error.
        prior_feature_kernels: `feature_kernels` without labels, from the same networks.
        prior_feature_kernels_error: its standard error.
        feature_shift: posterior minus prior.
        feature_shift_error: its standard error, which knows that both come from the same networks.
        samples: number of networks.
        method: how they were drawn, `"chain"` or `"weights"`.
        noise: variance of the observation noise.

    Example:
        >>> from finitewidth.bayes.sampling import importance_sample
        >>> from finitewidth.network import MLP
        >>> net = MLP(widths=(2, 16, 1), activation="tanh", C_b=0.1, C_W=1.5)
        >>> p = importance_sample(net, [[1.0, 0.5]], [0.7], [[0.5, 1.0]], samples=256)
        >>> p.mean.shape, p.variance.shape, p.feature_kernels.shape
        ((1, 1), (1, 1), (1, 2, 2))
    """

    log_evidence: float
    log_evidence_error: float
    effective_samples: float
    effective_samples_error: float
    prior_feature_kernels: Float[np.ndarray, "H D D"]
    prior_feature_kernels_error: Float[np.ndarray, "H D D"]
    feature_shift: Float[np.ndarray, "H D D"]
    feature_shift_error: Float[np.ndarray, "H D D"]
    samples: int = eqx.field(static=True)
    method: str = eqx.field(static=True)
    noise: float = eqx.field(static=True)

    def __repr__(self) -> str:
        tests, outputs = self.mean.shape
        return (
            f"SampledPosterior({tests} test inputs, {outputs} outputs, noise {self.noise:.3g}, "
            f"log evidence {self.log_evidence:.4f} +- {self.log_evidence_error:.2g}, "
            f"{self.effective_samples:.0f} effective of {self.samples} networks by {self.method})"
        )

    def to_xarray(self) -> "xarray.Dataset":
        """Return a dataset with labelled dimensions.

        Returns:
            A dataset with a variable for every array and one of the same name ending in `_error`;
            dimensions `test` and `output`, for the covariance also `test_2` and `output_2`, for
            kernels `layer` (1..L-1), `sample_1` and `sample_2` (training, then test inputs).
        """
        import xarray  # slow to import, and most runs do without it

        one, two = ("test", "output"), ("test_2", "output_2")
        kernels = ("layer", "sample_1", "sample_2")
        dims = {"mean": one, "variance": one, "covariance": one + two, "log_evidence": ()}
        dims["effective_samples"] = ()
        dims |= dict.fromkeys(
            ("feature_kernels", "prior_feature_kernels", "feature_shift"), kernels
        )
        variables = {
            name + end: (axes, np.asarray(getattr(self, name + end)))
            for name, axes in dims.items()
            for end in ("", "_error")
        }
        coordinates = {"layer": np.arange(1, len(self.feature_kernels) + 1)}
        attributes = {"samples": self.samples, "method": self.method, "noise": self.noise}
        return xarray.Dataset(variables, coordinates, attributes)
