"""How to get the same page again: the command, a Python snippet, versions, a PyTorch snippet."""

import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("finitewidth", "jax", "jaxlib", "equinox", "numpy", "scipy", "matplotlib")


@dataclass(frozen=True)
class Settings:
    """What a report was asked for; `data` is a name or path, or None for an array."""

    activations: tuple[str, ...]
    depth: int
    width: int
    data: str | None
    samples: int | None
    networks: int
    ntk_networks: int
    seed: int
    C_b: float | None = None
    C_W: float | None = None
    trained_networks: int = 0

    def as_dict(self) -> dict[str, object]:
        """Return the settings by name."""
        return asdict(self)


def command(settings: Settings, out: str) -> str | None:
    """Return the shell command that makes the page, None if the data are no file."""
    if settings.data is None:
        return None
    words = ["finitewidth", "report"]
    for name in settings.activations:
        words += ["--activation", name]
    words += ["--depth", str(settings.depth), "--width", str(settings.width)]
    words += ["--data", settings.data]
    if settings.samples is not None:
        words += ["--samples", str(settings.samples)]
    words += ["--networks", str(settings.networks), "--ntk-networks", str(settings.ntk_networks)]
    words += ["--trained-networks", str(settings.trained_networks), "--seed", str(settings.seed)]
    for option, value in (("--C-b", settings.C_b), ("--C-W", settings.C_W)):
        if value is not None:
            words += [option, repr(value)]
    return shlex.join([*words, "--out", out])


def snippet(settings: Settings, out: str) -> str:
    """Return Python lines that make the page."""
    given: Mapping[str, object] = {
        name: value
        for name, value in settings.as_dict().items()
        if value is not None and name not in ("activations", "data")
    }
    data = "x" if settings.data is None else repr(settings.data)
    lines = ["from finitewidth.report import build_report", ""]
    if settings.data is None:
        lines.append("# x: the array of inputs, shape (N, n0), that was passed to this report")
    lines += ["build_report(", f"    activations={list(settings.activations)!r},"]
    lines += [f"    data={data},"]
    lines += [f"    {name}={value!r}," for name, value in given.items()]
    lines += [f"    out={out!r},", ")"]
    return "\n".join(lines)


def torch_snippet(C_b: float, C_W: float) -> str:
    """Return PyTorch lines that initialize a model with these variances."""
    bias = (
        "nn.init.zeros_(layer.bias)"
        if C_b == 0
        else f"nn.init.normal_(layer.bias, std=math.sqrt({C_b:.10g}))"
    )
    return "\n".join(
        [
            "for layer in model.modules():",
            "    if isinstance(layer, nn.Linear):",
            f"        nn.init.normal_(layer.weight, std=math.sqrt({C_W:.10g} / layer.in_features))",
            f"        {bias}",
        ]
    )


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Return the versions of Python and of the packages that the numbers depend on."""
    found = {"Python": platform.python_version()}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
