"""Commands that read a run and change nothing: tree, show, diff."""

from __future__ import annotations

from typing import Any

import click

from branchtrack.cli.context import CommandLine, json_option, pass_command_line
from branchtrack.cli.output import (
    ago,
    changes,
    echo,
    emit,
    print_fields,
    print_table,
    setting,
    spelled_name,
    styled,
    visible,
)
from branchtrack.core import formats


@click.command()
@click.argument("run")
@click.option("--trials", "unfolded", is_flag=True, help="Also draw the branches of trials.")
@json_option
@pass_command_line
def tree(line: CommandLine, run: str, unfolded: bool, as_json: bool) -> None:
    """Draw the tree of a RUN: its nodes, newest on top, and what each changed.

    Each trial is one line with its verdict. JSON always has all branches.

    \b
    Example: branchtrack tree demo
    """
    from branchtrack.analysis import payloads
    from branchtrack.db.runs import find_run

    with line.read() as connection:
        payload = payloads.tree(connection, find_run(connection, run))
    if as_json:
        emit(payload)
        return
    from branchtrack.cli.text_art import folded

    print_tree(payload if unfolded else folded(payload))


def print_tree(payload: dict[str, Any]) -> None:
    """Print a tree, given as `payloads.tree` returns it: branches, then nodes with their lanes."""
    from branchtrack.cli.text_art import tree_lines

    echo("\n".join([styled(payload["run"]["name"], bold=True), *tree_lines(payload)]))
    if payload["refused"]:
        refused = payload["refused"]
        what = f"{refused['branch']} could not be started from node {refused['node']}"
        echo(styled(f"{what}: {refused['error']}", "red"))
    for trouble in payload["troubles"]:
        where = f"{trouble['branch']} could not record everything since step {trouble['step']}"
        echo(styled(f"{where}: {trouble['reason']}", "red"))


@click.command()
@click.argument("node")
@click.option("--code", is_flag=True, help="Only what ran: command, commit, changes, packages.")
@json_option
@pass_command_line
def show(line: CommandLine, node: str, code: bool, as_json: bool) -> None:
    """Show the whole record of a NODE: an id, RUN@STEP, or a branch for its last node.

    \b
    Example: branchtrack show 3fa9
             branchtrack show demo@100 --code
    """
    from branchtrack.analysis import payloads_nodes
    from branchtrack.db.nodes import find

    with line.read() as connection:
        payload = payloads_nodes.show(connection, line.store, find(connection, node))
    if as_json:
        emit(payload)
        return
    if code:
        _print_code(payload["code"])
        return
    checkpoint = payload["checkpoint"]
    logical, stored = (formats.size(checkpoint[f"{kind}_bytes"]) for kind in ("logical", "stored"))
    print_fields(
        [
            ("node", styled(payload["id"], bold=True)),
            ("branch", f"{payload['run']}/{payload['branch']}"),
            (
                "step",
                f"{formats.steps(payload['step'])} (epoch {formats.metric(payload['epoch'])})",
            ),
            ("kind", payload["kind"]),
            ("parent", payload["parent"] or "–"),
            *([("second parent", payload["merge_parent"])] if payload["merge_parent"] else []),
            ("by", f"{payload['actor'] or '–'}, {ago(payload['created_at'])}"),
            ("message", visible(payload["message"]) or "–"),
            ("changes", changes(payload["changes"]) or "none"),
            *([("verdict", _verdict_words(payload["verdict"]))] if payload["verdict"] else []),
            ("state digest", payload["state_digest"]),
            (
                "checkpoint",
                f"{formats.plural(checkpoint['tensors'], 'tensor')}, {logical}, "
                f"of which {stored} were new",
            ),
            *([("thinned", _thinned_words(payload))] if payload["thinned"] else []),
        ]
    )
    if payload["compared"]:
        word = styled(payload["compared"]["state"], bold=True)
        echo(f"\n{styled('restore', bold=True)}\n  {word}: {payload['compared']['about']}")
    for section in ("metrics", "settings", "effective", "restored", "environment"):
        _print_part(section, payload[section])


def _print_code(code: dict[str, Any] | None) -> None:
    """Print what ran, and the uncommitted difference as it was."""
    if code is None:
        echo("The process that made this node recorded nothing of its code.")
        return
    others = ("diff", "packages", "imported", "untracked", "sources", "untracked_count", "diff_cut")
    _print_part("what ran", {name: code[name] for name in code if name not in others})
    _print_part("imported", code["imported"])
    if code["untracked"]:
        more = code["untracked_count"] - len(code["untracked"])
        names = ", ".join(code["untracked"]) + (f" and {more} more" if more else "")
        echo(f"\n{styled('untracked', bold=True)}\n  {names}")
    if code["diff"]:
        echo(f"\n{styled('uncommitted', bold=True)}\n{code['diff'].rstrip()}")
        if code["diff_cut"]:
            echo(f"... the rest of {formats.size(code['diff_bytes'])} was not recorded")


def _verdict_words(verdict: dict[str, Any]) -> str:
    from branchtrack.cli.trial_lines import effect_words

    words = f"{verdict['words']} {effect_words(verdict)}".rstrip()
    return f"{words}, {formats.plural(verdict['pairs'], 'pair')}, trial {verdict['trial'][:8]}"


def _thinned_words(payload: dict[str, Any]) -> str:
    if payload["kind"] == "merge":
        return "no, but a merge has weights alone: resume it with --mode weights"
    if payload["thinned"] == "recipe":
        return f"its recipe is left: branchtrack rebuild {payload['id'][:8]}"
    return "its weights alone are left: resume it with --mode weights"


def _print_part(name: str, values: dict[str, Any] | None) -> None:
    if values:
        echo(f"\n{styled(name, bold=True)}")
        print_fields(
            [(f"  {spelled_name(key)}", _value(name, key, value)) for key, value in values.items()]
        )


@click.command()
@click.argument("a")
@click.argument("b")
@click.argument("others", nargs=-1, metavar="[C]...")
@click.option(
    "--base", help="Of more than two: differences are to this one; the first if left out."
)
@click.option("--weights", "with_weights", is_flag=True, help="Also how far the weights are apart.")
@json_option
@pass_command_line
def diff(
    line: CommandLine,
    a: str,
    b: str,
    others: tuple[str, ...],
    base: str | None,
    with_weights: bool,
    as_json: bool,
) -> None:
    """Compare A with B, and up to six more: branches, or nodes (an id, RUN@STEP, RUN/BRANCH@STEP).

    \b
    Example: branchtrack diff demo/main demo/cooler
             branchtrack diff demo@100 demo/cooler@100
    """
    if others or base:
        _diff_of_several(line, (a, b, *others), base, with_weights, as_json)
        return
    from branchtrack.analysis import payloads_nodes

    with line.read() as connection:
        payload = payloads_nodes.diff(connection, a, b)
    if with_weights:
        payload["weights"] = _weights(line, a, b)
    if as_json:
        emit(payload)
        return
    common = payload["common_ancestor"]
    where = (
        f"node {common[:8]} at step {formats.steps(payload['common_step'])}"
        if common
        else "none: different trees"
    )
    print_fields(
        [("a", _side(payload["a"])), ("b", _side(payload["b"])), ("common ancestor", where)]
    )
    for key in ("settings", "metrics", "data", "environment"):
        title, rows = key.removesuffix("s"), payload[key]
        if not rows and key in ("data", "environment"):
            continue
        echo()
        if not rows:
            echo(f"No {title} differs.")
        print_table(
            (title, "a", "b"),
            [(spelled_name(row["name"]), *_pair(title, row["a"], row["b"])) for row in rows],
            right="a b",
        )
    for side in ("a", "b"):
        for node in payload[side]["changes"]:
            echo(f"\n{side} at step {formats.steps(node['step'])}: {_node_words(node)}")
    if with_weights:
        _print_weights(payload["weights"])


def _diff_of_several(
    line: CommandLine, refs: tuple[str, ...], base: str | None, with_weights: bool, as_json: bool
) -> None:
    from branchtrack.analysis.comparison import payloads, reading

    with line.read() as connection:
        several = reading.read(connection, refs, base=base)
        payload = payloads.side_by_side(connection, several)
    others = [side["ref"] for side in payload["sides"] if side["ref"] != payload["base"]]
    if with_weights:
        payload["weights"] = {ref: _weights(line, payload["base"], ref) for ref in others}
    if as_json:
        emit(payload)
        return
    common = payload["common_step"]
    where = "none" if common is None else f"at step {formats.steps(common)}"
    print_fields([("common ancestor", where), ("differences to", payload["base"])])
    _print_ranking(payload["ranking"])
    names = [spelled_name(each.name) for each in several.lines]
    for title in ("settings", "data", "environment"):
        if payload[title]:
            echo()
            cells = [
                (spelled_name(row["name"]), *map(_cell, row["values"])) for row in payload[title]
            ]
            print_table((title, *names), cells, right=" ".join(names))
    for change in payload["changes"]:
        what = _node_words(change)
        echo(f"\n{', '.join(change['refs'])} at step {formats.steps(change['step'])}: {what}")
    for ref, weights in payload.get("weights", {}).items():
        echo(f"\n{styled(spelled_name(ref), bold=True)}")
        _print_weights(weights)


def _print_ranking(ranking: dict[str, Any]) -> None:
    echo()
    print_table(
        (ranking["metric"], "best", "at", "newest", "difference"),
        [
            (
                spelled_name(row["ref"]),
                formats.metric(row["best"]),
                formats.steps(row["best_step"]),
                formats.metric(row["last"]),
                formats.delta(row["difference"]),
            )
            for row in ranking["lines"]
        ],
        right="best at newest difference",
    )


def _cell(value: Any) -> str:
    return formats.NOTHING if value is None else visible(setting(value))


def _node_words(node: dict[str, Any]) -> str:
    return changes(node["changes"]) + (f" ({node['message']})" if node["message"] else "")


def _weights(line: CommandLine, a: str, b: str) -> dict[str, Any]:
    from branchtrack.analysis.comparison import payloads_weights

    with line.read() as connection:
        planned = payloads_weights.plan(connection, a, b)
    return payloads_weights.measured(line.store, planned)


def _print_weights(weights: dict[str, Any]) -> None:
    echo()
    rows = [*weights["rows"], weights["total"]] if weights["rows"] else []
    print_table(
        ("module", "distance", "cosine", "tensors", "equal"),
        [
            (
                spelled_name(row["name"]),
                formats.metric(row["distance"]),
                formats.NOTHING if row["cosine"] is None else formats.metric(row["cosine"]),
                formats.steps(row["tensors"]),
                formats.steps(row["equal"]),
            )
            for row in rows
        ],
        right="distance cosine tensors equal",
    )
    for note in weights["notes"]:
        echo(note)


def _value(section: str, name: str, value: Any) -> str:
    """Return a value of a section; a norm of gradients is a measurement, wherever it is listed."""
    is_measured = section == "metrics" or name.endswith("grad_norm")
    return formats.metric(value) if is_measured else setting(value)


def _pair(title: str, a: Any, b: Any) -> tuple[str, str]:
    if title == "metric":
        return formats.metric(a), formats.metric(b)
    before, after = formats.setting_pair(a, b)
    return visible(before), visible(after)


def _side(side: dict[str, Any]) -> str:
    step = formats.steps(side["step"])
    return f"{side['ref']} (node {side['node'][:8]} of {side['branch']}, step {step})"
