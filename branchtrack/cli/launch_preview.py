"""What an order of branches would do, in lines of text; see `control.preview_launches`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from branchtrack.cli.output import changes, echo, field_lines, print_table, styled, visible
from branchtrack.core import formats


def print_preview(preview: dict[str, Any], title: str) -> None:
    """Print the branches of an order, what each differs in, and what they cost."""
    lines = preview["branches"]
    if len(lines) == 1:
        echo("\n".join(field_lines(_single(lines[0], preview["group"], title))))
    else:
        _print_several(preview, title)
    for line in lines:
        for warning in line["warnings"]:
            echo(f"{styled('note', 'yellow')}: {visible(line['branch'])}: {visible(warning)}")
    _print_refusals(lines)


def _print_refusals(lines: Sequence[dict[str, Any]]) -> None:
    """Print each reason once, with the branches that are refused for it."""
    names: dict[str, list[str]] = {}
    for line in lines:
        if error := line["error"]:
            names.setdefault(f"{error['what']} {error['fix']}", []).append(line["branch"])
    for words, refused in names.items():
        echo(f"{styled('refused', 'red')}: {', '.join(refused)}: {words}")


def _single(line: dict[str, Any], group: str | None, title: str) -> list[tuple[str, str]]:
    fields = [
        (title, styled(f"{line['run']}/{line['branch']}", bold=True)),
        *([("group", group)] if group else []),
        ("from node", f"{line['node'][:8]} at step {formats.steps(line['step'])}"),
    ]
    if line["error"] is not None:
        return fields
    return [
        *fields,
        ("changes", _change_words(line)),
        ("mode", line["mode"]),
        *_parts(line["restored"]),
        ("trains", _cost(line)),
    ]


def _print_several(preview: dict[str, Any], title: str) -> None:
    lines = preview["branches"]
    accepted = [line for line in lines if line["error"] is None]
    fields = [
        (title, formats.plural(len(lines), "branch", "branches")),
        ("group", preview["group"]),
    ]
    if accepted:
        fields += [("mode", accepted[0]["mode"]), *_parts(accepted[0]["restored"])]
    total = preview["steps"]
    fields.append(("trains", "a number of steps that the scripts set"))
    if total is not None:
        fields[-1] = ("trains", f"{formats.plural(total, 'step')} in all")
    echo("\n".join(field_lines(fields)))
    print_table(
        ("BRANCH", "NODE", "STEP", "CHANGES", "STEPS"),
        [
            (
                styled(line["branch"], bold=True),
                line["node"][:8],
                formats.steps(line["step"]),
                "refused" if line["error"] else _change_words(line),
                formats.steps(line["steps"]),
            )
            for line in lines
        ],
        right="STEP STEPS",
    )


def _change_words(line: dict[str, Any]) -> str:
    """Return what a branch changes, with the relative values as they were asked for."""
    words = changes(line["changes"]) or "none"
    asked = ", ".join(f"{name} {text}" for name, text in line["relative"].items())
    return f"{words} ({visible(asked)})" if asked else words


def _parts(restored: dict[str, str]) -> Sequence[tuple[str, str]]:
    """Return what is restored, replaced and reset, each with the names of the parts."""
    return [
        (word, ", ".join(name for name, how in restored.items() if how == word))
        for word in ("restored", "replaced", "reset")
        if word in restored.values()
    ]


def _cost(line: dict[str, Any]) -> str:
    if line["steps"] is None:
        return "as many steps as the script says"
    return f"{formats.plural(line['steps'], 'step')}, to step {formats.steps(line['max_steps'])}"
