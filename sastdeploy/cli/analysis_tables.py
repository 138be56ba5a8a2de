"""A checkpoint's analysis on the terminal."""

from __future__ import annotations

from typing import Any

from sastdeploy.cli.terminal import percent, print_table, print_text


def print_analysis(record: dict[str, Any]) -> None:
    """Print one table each for margins, contraction and activity, and bounds where they are, with what they mean."""
    print_table(
        ("spikes", "layer", "within ±0.2, %", "mean", "deviation", "1 %", "median", "99 %"),
        [
            (kind, name, f"{100 * part['near']:.3f}", f"{part['mean']:.4f}", f"{part['standard_deviation']:.4f}",
             *(f"{part['quantiles'][share]:.3f}" for share in ("0.01", "0.5", "0.99")))
            for kind in ("hard", "surrogate") for name, part in _parts(record["margins"][kind])
        ],
        "Margins: membrane less threshold, u - theta",
    )  # fmt: skip
    contraction = record["contraction"]
    print_table(
        ("layer", "gamma-hat", "largest slope", "nearest", "in the band, %", "median", "99 %", "99.9 %"),
        [
            (name, f"{part['gamma_hat']:.5f}", f"{part['largest_slope']:.5f}", f"{part['nearest']:.3g}",
             f"{100 * part['in_band']:.3f}", *(f"{part['quantiles'][share]:.4f}" for share in ("0.5", "0.99", "0.999")))
            for name, part in _parts({"overall": contraction, "layers": contraction["layers"]})
        ],
        "Contraction: alpha + M_theta |sigma'| with surrogate spikes",
    )  # fmt: skip
    print_text(contraction["sentence"] + "\n")
    print_table(
        ("layer", "neurons", "surrogate rate", "hard rate", "silent, %", "never reaching, %", "tail, %", "far tail, %",
         "far below, %"),
        [
            (name, part["neurons"], f"{part['surrogate_rate']:.4f}", f"{part['hard_rate']:.4f}",
             *(percent(part[key]) for key in ("silent", "never_reaching", "tail", "far_tail", "far_below")))
            for name, part in _parts(record["activity"])
        ],
        "Activity: outputs per neuron and step, and the share of the surrogate's output from below threshold",
    )  # fmt: skip
    if record["bounds"] is not None:
        _print_bounds(record["bounds"])


def _print_bounds(bounds: dict[str, Any]) -> None:
    lipschitz, convergence = bounds["lipschitz"], bounds["convergence"]
    rows = []
    for layer in bounds["states"]["layers"]:
        rows.append(
            (f"{layer['name']}: ||u_t||_2", f"{layer['norm_bound']:.4g}", f"{layer['norm_visited']:.4g}")
        )
        rows.append(
            (f"{layer['name']}: |u_t|", f"{layer['largest_bound']:.4g}", f"{layer['largest_visited']:.4g}")
        )
    largest = f"{lipschitz['largest_found']:.4g}"
    for kind in ("local", "global"):
        one = lipschitz[kind]
        rows.append(
            (
                f"L_x, {kind} B_1 = {one['B_1']:.4g}, gamma = {one['gamma']:.4g}",
                f"10^{one['log10_bound']:.2f}",
                largest,
            )
        )
        rows.append(
            (f"  {kind}, with each layer's own B_1, M_A", f"10^{one['log10_bound_per_layer']:.2f}", largest)
        )
    squared = max(convergence["gradient_norm"], convergence["initial_gradient_norm"]) ** 2
    floors = {convergence["paper_rho"]: "floor_at_paper_rho", convergence["rho"]: "floor"}
    for rho, key in sorted(floors.items()):
        rows.append((f"squared gradient, rho = {rho:g}", f">= {convergence[key]:.4g}", f"{squared:.4g}"))
    print_table(
        ("quantity", "bound", "largest found"),
        rows,
        f"Bounds (section 4), gradients and attacks on {bounds['limit']} recordings, seed {bounds['seed']}",
    )
    norms = ", ".join(f"{norm['name']} {norm['value']:.4g}" for norm in bounds["operator_norms"])
    print_text(f"Operator norms: {norms}; largest ||x_t||_2: {bounds['input_norm']:.4g}.")
    for part in (bounds["states"], lipschitz, convergence):
        print_text(part["sentence"])


def _parts(record: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(layer["name"], layer) for layer in record["layers"]] + [("all", record["overall"])]
