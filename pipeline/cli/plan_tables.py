"""Print plans on stdout: one in two columns, several in a table with their total."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from math import prod
from typing import TYPE_CHECKING, Any

from pipeline.cli.tables import print_json, print_records, print_table, shared_folder, table_of
from pipeline.errors import counted, duration_text, size_text
from pipeline.files.visible import visible

if TYPE_CHECKING:
    from pipeline.runs.plan import Plan, Price, Total


def print_plans(plans: Sequence[Plan], total: Total, price: Price | None = None, *, as_json: bool) -> None:
    """Print plans and what they cost, or `{"items": [...], "total": {...}}`."""
    if as_json:
        items = [asdict(plan) | _cost(plan.seconds, price) for plan in plans]
        print_json({"items": items, "total": asdict(total) | _cost(total.seconds, price)})
    elif len(plans) > 1:
        _print_several(plans, total, price)
    else:
        print_records([_record(plan, price) for plan in plans], as_json=False)


def cost_text(seconds: float | None, price: Price) -> str:
    """Return what a time costs, with at least two digits that count."""
    if seconds is None:
        return "not tried"
    cost = price.of(seconds)
    number = f"{cost:,.0f}" if cost >= 1000 else f"{cost:.2f}" if cost >= 0.1 or not cost else f"{cost:.2g}"
    return f"{number} {price.currency}".strip()


def _cost(seconds: float | None, price: Price | None) -> dict[str, Any]:
    """Return the cost as a figure, if there is a price."""
    if price is None:
        return {}
    return {"cost": None if seconds is None else price.of(seconds), "currency": price.currency or None}


def _record(plan: Plan, price: Price | None) -> dict[str, Any]:
    """Return what a plan says, in words; what a run takes comes last, next to the prompt."""
    shared = {"workers": f"{plan.runs} parts; {plan.recomputed:.1%} of the patches are computed twice"}
    return {
        "input": plan.input,
        "output": plan.output,
        "model": plan.model,
        "channels": plan.channels,
        "values": plan.values,
        "shape": plan.shape,
        "patches": _patches(plan),
        "features": plan.features,
        "slabs": f"{plan.bands:,}" + (f", in {plan.strips} strips" if plan.strips > 1 else ""),
        "computed": f"on {_computed(plan)}",
        **(shared if plan.runs > 1 else {}),
        **({"warnings": list(map(asdict, plan.warnings))} if plan.warnings else {}),
        "memory": size_text(plan.memory_bytes),
        "disk": size_text(plan.disk_bytes),
        "time": _time(plan.seconds),
        **({} if price is None else {"cost": cost_text(plan.seconds, price)}),
    }


def _computed(plan: Plan) -> str:
    return ", ".join((plan.device, plan.precision, plan.runtime))


def _patches(plan: Plan) -> str:
    patch, overlap = (" x ".join(map(str, sides)) for sides in (plan.patch, plan.overlap))
    return f"{plan.patches:,} of {patch}, overlap {overlap}, {plan.window} window"


def _time(seconds: float | None) -> str:
    return "not tried" if seconds is None else duration_text(seconds)


def _print_several(plans: Sequence[Plan], total: Total, price: Price | None) -> None:
    """Print a row for each plan, relative to the folder that they share, and one for all."""
    folder = shared_folder([plan.input for plan in plans])
    table = table_of("input", "Mpx", "patches", "memory", "disk", "time", *(["cost"] if price else []))
    for plan in plans:
        table.add_row(plan.input.removeprefix(folder), *_figures(prod(plan.shape), plan, price))
    table.add_row(counted(total.items, "item"), *_figures(total.cells, total, price), style="bold")
    if folder:
        sys.stdout.write(f"in {visible(folder)}\n")
    print_table(table)
    for made_by in dict.fromkeys(f"{plan.model} on {_computed(plan)}" for plan in plans):
        sys.stdout.write(f"{visible(made_by)}\n")
    for plan in plans:
        for remark in plan.warnings:
            sys.stdout.write(f"{visible(plan.input)}: {visible(remark)}\n")


def _figures(cells: int, of: Plan | Total, price: Price | None) -> list[str]:
    sizes = (size_text(of.memory_bytes), size_text(of.disk_bytes))
    cost = [] if price is None else [cost_text(of.seconds, price)]
    return [f"{cells / 1e6:,.1f}", f"{of.patches:,}", *sizes, _time(of.seconds), *cost]
