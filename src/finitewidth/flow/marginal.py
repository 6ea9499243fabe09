r"""Marginalization: leaving out inputs or neurons.

    p(z_A) = int dz_B p(z_A, z_B)                                             PDLT (4.92)-(4.96)

In terms of kernel, G^{1} and vertex, leaving out inputs is leaving out rows: the recursions never
mix in an input that was not asked for. In terms of couplings it is not, because g^{ab} and
v^{(ab)(cd)} are inverses. Leaving out neurons changes g^{ab} alone, by its m V/2 term.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from finitewidth.flow.effective_action import EffectiveAction
from finitewidth.flow.preactivations import Preactivations
from finitewidth.precision import in_double_precision
from finitewidth.tensors.pair_tensor import check_subset


@in_double_precision
def of_inputs(pre: Preactivations, indices: Sequence[int]) -> Preactivations:
    """Return the statistics of some of the inputs, the others integrated out, PDLT (4.96).

    Args:
        pre: statistics of order 0 or 1.
        indices: inputs to keep, in the order wanted.

    Returns:
        Statistics equal to those computed for these inputs alone.

    Raises:
        ValueError: if an index is not one of 0 .. N-1.

    Example:
        >>> import finitewidth as fw
        >>> net = fw.MLP.critical(widths=(1, 9, 1), activation="relu")
        >>> pre = fw.flow.preactivations(net, [[1.0], [2.0]])
        >>> of_inputs(pre, [1]).kernel[0].tolist()
        [[8.0]]
    """
    kept = check_subset(np.asarray(indices), pre.kernel.shape[-1])
    rows = jnp.ix_(jnp.arange(pre.kernel.shape[0]), kept, kept)
    return Preactivations(
        pre.net,
        pre.kernel[rows],
        None if pre.nlo_metric is None else pre.nlo_metric[rows],
        None if pre.vertex is None else pre.vertex.restrict(kept),
    )


@in_double_precision
def action_of_inputs(action: EffectiveAction, indices: Sequence[int]) -> EffectiveAction:
    """Return the effective action of some of the inputs, the others integrated out, PDLT (4.96).

    Args:
        action: of m neurons on N inputs.
        indices: inputs to keep, in the order wanted.

    Returns:
        The action of the same neurons; its couplings are not a part of the couplings before.

    Raises:
        ValueError: if an index is not one of 0 .. N-1.

    Example:
        >>> import finitewidth as fw
        >>> from finitewidth.flow.effective_action import effective_action
        >>> net = fw.MLP(widths=(2, 9, 9, 1), activation="linear")
        >>> pre = fw.flow.preactivations(net, [[1.0, 0.0], [1.0, 1.0]])
        >>> action_of_inputs(effective_action(pre, 3), [0])
        EffectiveAction of 1 neurons on 1 inputs, fan-in 9
    """
    kept = check_subset(np.asarray(indices), action.kernel.shape[0])
    rows = jnp.ix_(kept, kept)
    return EffectiveAction(
        action.kernel[rows],
        action.nlo_metric[rows],
        action.vertex.restrict(kept),
        action.fan_in,
        action.neurons,
    )
