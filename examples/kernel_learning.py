"""The statements of chapter 10 of PDLT as figures: what gradient descent makes of wide networks.

    python examples/kernel_learning.py [--out docs/gallery] [--only band trained ...]

Each function below is one figure: theory from `finitewidth.learning`, and where networks stand next
to it, real ones from `finitewidth.ensemble`. Everything together takes some minutes.
"""

import argparse
from pathlib import Path

import jax
import numpy as np
from scipy.stats import norm

import finitewidth as fw
from finitewidth.learning import generalization, predict
from finitewidth.report import save_figure
from finitewidth.report.figures import Drawing
from finitewidth.report.style import INK, MARKERS, SERIES, figure, legend

# Three training and two test inputs without symmetries, two outputs.
X = np.array([[1.2, 0.3, -0.5], [-0.4, 0.9, 0.6], [0.5, -1.1, 0.8]])
X_TEST = np.array([[0.3, 0.8, 0.2], [-0.9, 0.1, -0.7]])
Y = np.array([[0.8, -0.3], [-0.5, 0.9], [0.2, 0.6]])


def network(width: int, activation: str = "tanh", hidden: int = 1) -> fw.MLP:
    """Return a network of so many hidden layers for the data above."""
    widths = (3, *(width,) * hidden, 2)
    return fw.MLP(widths, activation, C_b=0.2, C_W=1.5, lambda_b=0.5)


def trained() -> Drawing:
    """Histograms of trained networks at one test input, and the normal density of (10.39)."""
    fig, axes = figure("output $z_{1;\\beta}$ after training", "density")
    found = predict(network(8), X, Y, X_TEST)
    mean, deviation = float(found.mean[1, 0]), float(found.standard_deviation[1])
    edges = np.linspace(mean - 4 * deviation, mean + 4 * deviation, 41)
    for k, width in enumerate((8, 32, 256)):
        runs = fw.ensemble.trainer(network(width), X, Y, X_TEST, chunk_size=4000, history=0)
        outputs = np.asarray(runs.networks(jax.random.key(width)).outputs)[:, 1, 0]
        axes.hist(
            outputs, edges.tolist(), density=True, histtype="step", color=SERIES[k],
            linewidth=1.3, label=f"4000 networks, n = {width}",
        )  # fmt: skip
    z = np.linspace(edges[0], edges[-1], 300)
    axes.plot(z, norm.pdf(z, mean, deviation), color=INK, label="infinite width")
    legend(axes)
    return Drawing(fig, "Trained networks at a test input", "tanh, one hidden layer.")


def band() -> Drawing:
    """Mean and band of two standard deviations on a line, tanh and ReLU, NTK and Bayes."""
    fig, axes = figure("input $x$ (second component 1)", "output $z$ after training")
    points = np.linspace(-3, 3, 181)
    line = np.stack([points, np.ones_like(points)], axis=1)
    at, labels = np.array([-1.5, -0.2, 1.0]), np.array([0.6, -0.8, 0.7])
    x = np.stack([at, np.ones(3)], axis=1)
    cases = (("tanh", "ntk"), ("relu", "ntk"), ("relu", "bayes"))
    for k, (activation, rule) in enumerate(cases):
        net = fw.MLP((2, 64, 64, 1), activation, C_b=0.1, C_W=2.0)
        found = predict(net, x, labels, line, rule=rule)
        low, high = found.band(2.0)
        axes.fill_between(points, low[:, 0], high[:, 0], color=SERIES[k], alpha=0.15, linewidth=0)
        axes.plot(points, found.mean[:, 0], color=SERIES[k], label=f"{activation}, {rule} ± 2σ")
    axes.plot(at, labels, MARKERS[3], color=INK, label="labels")
    legend(axes, loc="lower right")
    return Drawing(fig, "Predictions and their bands", "Two hidden layers, C_b = 0.1, C_W = 2.")


def robust() -> Drawing:
    """Robustness against depth at criticality, equivalence and constant rates, (10.78), (10.81)."""
    fig, axes = figure("depth $L$", "$|\\Theta_{-+}/\\Theta_{++} - 1|/\\delta^2$")
    depth = 1000
    layers = np.arange(1, depth + 1)
    middle, across = np.array([1.0, 0.5]), np.array([-0.5, 1.0])
    x_plus, x_minus = middle + 1e-3 * across, middle - 1e-3 * across  # equal norms
    cases = (
        ("tanh", "constant", "tanh, constant rates"),
        ("tanh", "equivalence", "tanh, equivalence"),
        ("sin", "constant", "sin, constant rates"),
        ("sin", "equivalence", "sin, equivalence"),
    )
    for k, (activation, rates, words) in enumerate(cases):
        law = generalization.robustness_exponent(activation, rates, 0.7, 1.1)
        # Equivalence: (10.74) with p_perp = 1 multiplies biases by 1/l, weights by nothing.
        bias = 0.7 / layers if rates == "equivalence" else 0.7
        net = fw.MLP.critical((2, *(9,) * (depth - 1), 1), activation, bias, 1.1)
        # delta^2 is what l ddK_[2] tends to, p_perp = 1.
        squared = np.asarray(fw.flow.nearby_ntk(net, x_plus, x_minus).ddK_2)[-1] * depth
        shift = generalization.robustness(net, x_plus, x_minus, method="expansion").shift
        axes.loglog(layers[5:], np.abs(shift)[5:] / squared, color=SERIES[k], label=words)
        axes.loglog(
            layers[50:], abs(law.coefficient) * layers[50:] ** law.power, color=SERIES[k],
            linestyle=(0, (3, 3)), linewidth=1.0,
        )  # fmt: skip
    legend(axes)
    return Drawing(fig, "Robustness against depth", "Thin dashes: the deep laws (10.78), (10.81).")


def angles() -> Drawing:
    """Angle of the NTK and variance of deep scale-invariant networks, (10.93) to (10.95)."""
    fig, axes = figure(
        "depth $L$", "$\\cos\\zeta = \\Theta_{-+}/\\Theta_{++}$, variance$/K^\\star$"
    )
    depth = 10_000
    layers = np.arange(1, depth + 1)
    for k, name in enumerate(("relu", "leaky_relu(0.3)")):
        flow = generalization.finite_angle_flow(name, 1.0, depth, 1.3, 0.7, 1.1)
        axes.semilogx(layers, flow.cosine, color=SERIES[k], label=f"cos ζ, {name}")
        axes.semilogx(
            layers, flow.variance, color=SERIES[k], linestyle=(0, (4, 2)), label=f"variance, {name}"
        )
    limits = generalization.finite_angle_limits("relu")
    for level, words in ((limits.cosine, "1/4"), (limits.variance, "9/16")):
        axes.axhline(level, color=INK, linewidth=0.8)
        axes.annotate(words, (1.2, level), va="bottom", fontsize=8, color=INK)
    legend(axes)
    return Drawing(fig, "Deep limits of scale-invariant networks", "First angle 1, K* = 1.3.")


def bias_variance() -> Drawing:
    """Mean test loss over the plane of (C_b, C_W), with the critical point marked."""
    fig, axes = figure("weight variance $C_W$", "bias variance $C_b$")
    C_b, C_W = np.linspace(0, 1, 41), np.linspace(0.4, 3, 53)
    data = fw.data.load_data("digits", samples=30)
    y = fw.data.centred_one_hot(data.labels, range(10))
    net = fw.MLP((64, *(9,) * 9, 10), "tanh")
    found = generalization.bias_variance_map(
        net, data.x[:15], y[:15], data.x[15:], y[15:], C_b=C_b, C_W=C_W
    )
    loss = np.asarray(found.bias + found.variance)[..., -1] / y[15:].shape[0]
    shown = axes.pcolormesh(
        C_W, C_b, np.log10(loss), shading="gouraud", cmap="viridis", rasterized=True
    )
    fig.colorbar(shown, ax=axes, label="log$_{10}$ of the mean test loss of an image")
    lines = axes.contour(C_W, C_b, np.log10(loss), colors="white", linewidths=0.6)
    axes.clabel(lines, fontsize=7)
    axes.plot([1.0], [0.0], MARKERS[3], color=SERIES[4], clip_on=False, label="critical")
    legend(axes, loc="upper left", labelcolor="white")
    return Drawing(
        fig, "Test loss over initializations", "tanh, 10 layers, 15 digits to learn, 15 to predict."
    )


def polation() -> Drawing:
    """Curves between and beyond two nearby training inputs, (10.99)-(10.117)."""
    fig, axes = figure("$s$ on the line $s\\,x_+ + (1-s)\\,x_-$", "mean output")
    s = np.linspace(-1.5, 2.5, 161)
    for k, (name, apart) in enumerate(
        (("linear", 1.5), ("tanh", 1.5), ("relu", 1.5), ("relu", 0.02))
    ):
        x_plus, x_minus = np.array([1.0, 0.5 + apart / 2]), np.array([1.0, 0.5 - apart / 2])
        net = fw.MLP((2, 64, 64, 1), name, C_b=0.1, C_W=1.5)
        curve = generalization.interpolate(net, x_plus, x_minus, 1.0, 0.0, s=s)
        axes.plot(s, curve.mean[:, 0], color=SERIES[k], label=f"{name}, $|x_+ - x_-|$ = {apart}")
    axes.plot(
        s, generalization.kinked_limit(1.0, 0.0, s), color=INK, linewidth=0.8,
        linestyle=(0, (3, 3)), label="kinked, zero separation",
    )  # fmt: skip
    axes.plot([0, 1], [0.0, 1.0], MARKERS[3], color=INK, label="labels")
    legend(axes)
    return Drawing(
        fig, "Interpolation and extrapolation", "Two hidden layers, C_b = 0.1, C_W = 1.5."
    )


def algorithms() -> Drawing:
    """How far single networks are from their predictions and from another algorithm, by width."""
    fig, axes = figure("width $n$", "root mean square difference of a test output")
    widths = (64, 128, 256, 512)
    theta = np.asarray(fw.flow.ntk(network(8), np.concatenate([X, X_TEST]), order=0).mean[-1])
    R = np.linalg.solve(theta[:3, :3], theta[:3, 3:]).T
    sizes = {"its frozen prediction": [], "momentum": [], "its own NTK's prediction": []}
    for n in widths:
        options = {"chunk_size": 100, "tolerance": 1e-6, "history": 0}
        both, key = np.concatenate([X, X_TEST]), jax.random.key(n)
        plain = fw.ensemble.trainer(
            network(n), X, Y, both, control_variate="empirical", **options
        ).networks(key)
        other = fw.ensemble.trainer(
            network(n), X, Y, both, optimizer="momentum", momentum=0.8, **options
        ).networks(key)
        start, end = np.asarray(plain.initial), np.asarray(plain.outputs)[:, 3:]
        frozen = start[:, 3:] - np.einsum("ba,mai->mbi", R, start[:, :3] - Y)
        differences = (
            end - frozen,
            end - np.asarray(other.outputs)[:, 3:],
            end - np.asarray(plain.linearized)[:, 3:],
        )
        for name, difference in zip(sizes, differences, strict=True):
            sizes[name].append(np.sqrt((difference**2).mean()))
    for k, (name, values) in enumerate(sizes.items()):
        slope = np.polyfit(np.log(widths), np.log(values), 1)[0]
        axes.loglog(
            widths, values, MARKERS[k] + "-", color=SERIES[k],
            label=f"descent against {name}: slope {slope:.2f}",
        )  # fmt: skip
    axes.set_ylim(bottom=0.4 * min(min(values) for values in sizes.values()))
    axes.set_xticks(widths, [str(n) for n in widths])
    axes.minorticks_off()
    legend(axes, loc="lower left")
    return Drawing(fig, "Algorithm independence", "tanh, one hidden layer, 100 networks a width.")


def extrapolation() -> Drawing:
    """Means of trained networks against width, in the powers that the activation asks for."""
    fig, axes = figure("$n^{-1/2}$", "(mean − infinite width) of a test output")
    for k, name in enumerate(("tanh", "relu")):
        net = network(32, name)
        infinite = float(predict(net, X, Y, X_TEST).mean[1, 1])
        theta = fw.flow.ntk(net, np.concatenate([X, X_TEST]), order=0).mean[-1]
        limit = fw.ensemble.train_extrapolated(
            net, X, Y, X_TEST, samples=2000, factors=(1, 2, 4, 8), control_variate=theta
        )
        n = 32.0 * np.array([1, 2, 4, 8])
        value = np.array([run.controlled_mean.value[1, 1] for run in limit.runs]) - infinite
        error = np.array([run.controlled_mean.standard_error[1, 1] for run in limit.runs])
        axes.errorbar(
            n**-0.5, value, error, fmt=MARKERS[k], color=SERIES[k], capsize=2,
            label=f"{name}, 2000 networks a width",
        )  # fmt: skip
        powers = net.activation.width_powers
        design = np.stack([n**-p for p in (0, *powers)], axis=1) / error[:, None]
        coefficients = np.linalg.lstsq(design, value / error, rcond=None)[0]
        at_zero = np.linalg.inv(design.T @ design)[0, 0] ** 0.5
        axes.errorbar(
            [0.0], coefficients[:1], at_zero, fmt=MARKERS[k], color=SERIES[k], capsize=2,
            markerfacecolor="none", clip_on=False,
        )  # fmt: skip
        grid = np.linspace(0, 32**-0.5, 100)
        fit = sum(c * grid ** (2 * p) for c, p in zip(coefficients, (0, *powers), strict=True))
        axes.plot(grid, fit, color=SERIES[k], label=f"fit in powers {powers} of 1/n")
    axes.axhline(0.0, color=INK, linewidth=0.8)
    legend(axes)
    return Drawing(fig, "Extrapolation in width", "One hidden layer. Hollow: infinite width.")


ALL = (trained, band, robust, angles, bias_variance, polation, algorithms, extrapolation)


def main() -> None:
    """Draw the figures that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/gallery"))
    parser.add_argument("--only", nargs="+", choices=[f.__name__ for f in ALL], default=None)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for draw in ALL:
        if options.only is None or draw.__name__ in options.only:
            path = options.out / f"{draw.__name__}.svg"
            save_figure(draw(), str(path))
            print(f"wrote {path}", flush=True)


if __name__ == "__main__":
    main()
