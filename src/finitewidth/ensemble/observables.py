"""The names of everything that can be measured, and the observables behind them."""

from collections.abc import Sequence

from finitewidth.ensemble.control_variates import LayerMap, MetricPart, NtkLayerMap
from finitewidth.ensemble.metric_observables import Metric, MetricCumulant3, NloMetric, Vertex
from finitewidth.ensemble.ntk_observables import (
    CrossNeuronNtk,
    CrossNeuronPreactivations,
    MetricNtkCovariance,
    NloNtk,
    Ntk,
    NtkCovariance,
)
from finitewidth.ensemble.observable import Observable

OBSERVABLES: dict[str, type[Observable]] = {
    kind.name: kind
    for kind in (
        Metric,
        Vertex,
        MetricCumulant3,
        Ntk,
        NtkCovariance,
        CrossNeuronNtk,
        MetricNtkCovariance,
        CrossNeuronPreactivations,
        NloMetric,
        NloNtk,
    )
}
# Where the layer maps of an observable are handed in.
ARGUMENTS = {NloMetric.name: "control_variate", NloNtk.name: "ntk_control_variate"}


def observable_names() -> tuple[str, ...]:
    """Return the names of everything that can be measured.

    Example:
        >>> observable_names()
        ('metric', 'vertex', 'metric_cumulant3', 'ntk', 'A', 'B', 'D', 'F', 'nlo_metric', 'nlo_ntk')
    """
    return tuple(OBSERVABLES)


def build_observables(
    names: str | Sequence[str],
    control_variate: Sequence[LayerMap] | None = None,
    ntk_control_variate: Sequence[NtkLayerMap] | None = None,
) -> tuple[Observable, ...]:
    """Return the observables of these names, or say which names are known.

    Args:
        names: names, or one name.
        control_variate: the layer maps that `nlo_metric` needs; if they are given, `nlo_metric`
            is measured even when it is not named.
        ntk_control_variate: the layer maps that `nlo_ntk` needs; if they are given, `nlo_ntk` is
            measured even when it is not named, and so is `nlo_metric`: they map the metric too.

    Raises:
        ValueError: if there is no name, a name is unknown or layer maps are missing.
    """
    if control_variate is None and ntk_control_variate is not None:
        control_variate = [MetricPart(layer_map) for layer_map in ntk_control_variate]
    wanted = list(dict.fromkeys((names,) if isinstance(names, str) else names))
    controlled: dict[str, Observable] = {}
    if control_variate is not None:
        controlled[NloMetric.name] = NloMetric(tuple(control_variate))
    if ntk_control_variate is not None:
        controlled[NloNtk.name] = NloNtk(tuple(ntk_control_variate))
    wanted += [name for name in controlled if name not in wanted]
    if not wanted:
        raise ValueError(f"observables: wanted some of {', '.join(OBSERVABLES)}, got none.")
    chosen: list[Observable] = []
    for name in wanted:
        if name not in OBSERVABLES:
            raise ValueError(f"observables: wanted some of {', '.join(OBSERVABLES)}, got {name!r}.")
        if name in controlled:
            chosen.append(controlled[name])
        elif name in ARGUMENTS:
            raise ValueError(
                f"observables: {name} is measured with control variates; wanted layer maps in "
                f"`{ARGUMENTS[name]}`, got none."
            )
        else:
            chosen.append(OBSERVABLES[name]())
    return tuple(chosen)
