"""Results in words for a terminal: a headline, neurons and the report, line by line."""

from __future__ import annotations

import math
from typing import Any

from rosetta_ui.matching import answers
from rosetta_ui.store.folder import ResultFolder
from rosetta_ui.types import RosettaNeuron, Selection


def headline(folder: ResultFolder, chosen: Selection) -> str:
    """What was matched and how neurons are chosen, in three lines."""
    said = answers.summary(folder, "", chosen)
    null = "no null" if said.null_rosetta < 0 else f"{said.null_rosetta} with shuffled images"
    beside = "" if said.null_rosetta < 0 else f"; {said.null_rosetta_above} of the shuffled ones"
    part = " (stopped early)" if said.partial else ""
    return (
        f"{folder.record.title}{part}\n"
        f"rule {chosen.rule}, K {chosen.k}, score {chosen.score}: "
        f"{said.rosetta} Rosetta Neurons of {said.anchor_units:,} units ({null})\n"
        f"{said.rosetta_above_null} above the null's threshold of {number(said.threshold)} "
        f"(q {chosen.q:g}{beside})"
    )


def neuron_lines(at: int, neuron: RosettaNeuron) -> list[str]:
    """A neuron in lines: its weakest link, null, mark and anchor; then each partner."""
    mark = "above null" if neuron.above_null else "no better than chance"
    if not math.isfinite(neuron.null_min):
        mark = "no null to compare with"
    concept = f"concept {neuron.concept}" if neuron.concept >= 0 else "no concept"
    lines = [
        f"{at:>4}  {neuron.score_min:6.3f}  null {number(neuron.null_min)}  {mark}, {concept}  "
        f"{neuron.anchor}"
    ]
    for partner in neuron.partners.values():
        halves = partner.halves or (math.nan, math.nan)
        lines.append(
            f"      {partner.score:6.3f}  null {number(partner.null)}  p {number(partner.p)}  "
            f"rank {partner.rank}  halves {number(halves[0])} {number(halves[1])}  {partner.unit}"
        )
    return lines


def report_lines(told: dict[str, Any]) -> list[str]:
    """The report's main numbers for a terminal."""
    lines: list[str] = []
    for name, table in told["tables"].items():
        halves = table["halves"]
        lines += [
            "",
            f"{told['anchor']} × {name} ({table['units']:,} units, {table['dead']} dead)",
            f"  best buddies {table['best_buddies']} ({percent(table['share'])}), "
            f"shuffled {shown(table['null_best_buddies'])}",
            f"  pairs by the rule {table['pairs']}, shuffled {shown(table['null_pairs'])}",
            f"  threshold {number(table['threshold'])}: {percent(table['above_null'])} of best "
            f"matches above it, of them {percent(table['false_discoveries'])} false",
        ]
        if halves is not None:
            lines.append(
                f"  halves: {percent(halves['jaccard'])} of pairs found in both, "
                f"r against r {number(halves['correlation'])}"
            )
        lines += [
            f"  after {row['images']:>6,} images: {row['pairs']} pairs (K {row['k']}), "
            f"{percent(row['overlap'])} of the final ones"
            for row in table["convergence"]
        ]
    rosetta_part = told["rosetta"]
    lines += [
        "",
        f"Rosetta Neurons {rosetta_part['count']}, above the null {rosetta_part['above_null']}; "
        f"shuffled {shown(rosetta_part['null_count'])}, of them above "
        f"{shown(rosetta_part['null_above_null'])}",
    ]
    for name, model in told["models"].items():
        if (said := model.get("selectivity")) and said["more_selective"] is not None:
            lines.append(
                f"  {name}: excess kurtosis of Rosetta units {number(said['rosetta']['median'])}, "
                f"of others {number(said['others']['median'])} (medians)"
            )
    return lines


def number(value: float | None) -> str:
    """Three decimals, or a dash where there is no number."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.3f}"


def percent(value: float | None) -> str:
    """A share as percent, or a dash."""
    return "-" if value is None or not math.isfinite(value) else f"{100 * value:.1f} %"


def shown(value: int | None) -> str:
    """A count, or a dash where there is none."""
    return "-" if value is None or value < 0 else str(value)
