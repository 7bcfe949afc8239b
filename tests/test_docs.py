"""What the documents name exists, and what exists is documented."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import click
import pytest
from flask import Flask

from branchtrack import core, environment_variables, web
from branchtrack.cli import commands
from branchtrack.cli.main import COMMANDS, cli
from branchtrack.core.settings import Setting

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "branchtrack"
README, ARCHITECTURE = "README.md", "ARCHITECTURE.md"
CODE_FOLDERS = ("branchtrack", "tests", "templates", "static", "migrations", "docs")
#: Folders of a home, and of others' programs.
OTHER_FOLDERS = {".branchtrack", "store", "~/.config/branchtrack"}
#: Options that others have, or that a document shows as a secret in a user's command.
OTHER_OPTIONS = {"--api-key", "--continue"}
#: Options of sbatch.
OTHER_OPTIONS |= set("--partition --gres --time --signal --requeue --wrap --array".split())
#: Options of jobs on Ray.
OTHER_OPTIONS |= set("--address --num-cpus --num-gpus --memory --resources".split())
#: Variables of the project's own tests.
TEST_VARIABLES = {"BRANCHTRACK_TEST_SIGNALS"}
#: Settings that are named by what they belong to, and placeholders.
PATTERNS = re.compile(r"(data|model)\.[\w.]+|group\d+\.lr|\w+\.lr|NAME|name|aux_weight")

Check = Callable[[str], Iterable[str]]

SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


@cache
def documents() -> dict[str, str]:
    """The text of every document by its path from the root."""
    paths = [ROOT / README, ROOT / ARCHITECTURE, ROOT / "CONTRIBUTING.md"]
    paths += sorted((ROOT / "docs").glob("*.md"))
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths}


def docs_folder() -> str:
    return "\n".join(text for name, text in documents().items() if name.startswith("docs/"))


def code(text: str) -> str:
    """All that is written as code: spans and fenced blocks, each on lines of their own."""
    spans = SPAN.findall(FENCE.sub("", text))
    return "\n".join([*(match.group() for match in FENCE.finditer(text)), *spans])


@cache
def project_files() -> frozenset[str]:
    """Every file and folder of the project, by its path from the root with a slash before it."""
    present = {path for folder in CODE_FOLDERS for path in (ROOT / folder).rglob("*")}
    present |= {ROOT / folder for folder in CODE_FOLDERS} | set(ROOT.iterdir())
    return frozenset(f"/{path.relative_to(ROOT)}" for path in present)


def is_present(name: str) -> bool:
    """Whether a path, or the end of one, is in the project."""
    return any(path.endswith(f"/{name}") for path in project_files())


def missing_paths(text: str) -> Iterator[str]:
    """Python files, folders, templates and documents that are named and do not exist."""
    for span in SPAN.findall(FENCE.sub("", text)):
        for name in re.findall(r"(?<![\w./*])[\w./-]+\.(?:py|html|md|toml)\b", span):
            if not is_present(name) and not name.startswith("output/"):
                yield name
        folder = span.rstrip("/")
        if span.endswith("/") and re.fullmatch(r"[\w./~-]+", span):
            if folder not in OTHER_FOLDERS and not is_present(folder):
                yield span


@cache
def shell() -> dict[str, click.Command]:
    """The commands by name, as their modules define them."""
    defined = {}
    for module in pkgutil.walk_packages(commands.__path__, f"{commands.__name__}."):
        names = vars(importlib.import_module(module.name))
        for value in names.values():
            if isinstance(value, click.Command) and value.name in COMMANDS:
                defined[value.name] = value
    return defined


def options(command: click.Command) -> set[str]:
    """The options of a command and of those below it."""
    below = command.commands.values() if isinstance(command, click.Group) else ()
    named = {name for parameter in command.params for name in parameter.opts}
    return named.union(*(options(subcommand) for subcommand in below), {"--help"})


def unknown_commands(text: str) -> Iterator[str]:
    """Commands of ours that are named and do not exist, and options that they do not have."""
    for line in code(text).splitlines():
        for part in re.split(r"[;#]|&&", line):
            match = re.search(r"(?<![\w./-])branchtrack (?:-[-\w]+ \S+ )*([a-z][a-z-]*)(.*)", part)
            if match is None or "git clone" in part:
                continue
            name, rest = match.groups()
            if name not in shell():
                yield f"branchtrack {name}"
                continue
            known = options(shell()[name]) | OTHER_OPTIONS
            yield from (f"{name} {option}" for option in option_names(rest) if option not in known)


def unknown_options(text: str) -> Iterator[str]:
    """Options that are named by themselves and that no command has."""
    known = options(cli).union(*map(options, shell().values()), OTHER_OPTIONS)
    for span in SPAN.findall(FENCE.sub("", text)):
        if "git " not in span and ".venv" not in span:
            yield from (option for option in option_names(span) if option not in known)


def option_names(text: str) -> list[str]:
    return re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text)


@cache
def built_in_settings() -> frozenset[str]:
    """The name of every setting that is declared in `core` for others."""
    modules = (
        importlib.import_module(f"{core.__name__}.{module.name}")
        for module in pkgutil.iter_modules(core.__path__)
    )
    return frozenset(
        value.name
        for module in modules
        for constant, value in vars(module).items()
        if isinstance(value, Setting) and constant.isupper() and not constant.startswith("_")
    )


def unknown_settings(text: str) -> Iterator[str]:
    """Settings that an example changes and that do not exist."""
    for line in code(text).splitlines():
        assigned = re.findall(r"--(?:set|only-if) ([\w.]+)=", line)
        match = re.search(r"(?:^|branchtrack )set \S+ ((?:[\w.]+=\S+ ?)+)", line)
        assigned += re.findall(r"([\w.]+)=", match.group(1)) if match else []
        for name in assigned:
            if name not in built_in_settings() and not PATTERNS.fullmatch(name):
                yield name


def table_of_settings(text: str) -> list[str]:
    """The names in the first column of the table that begins with ``setting``."""
    table = re.search(r"^\| setting \|.*\n\|[- |]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert table is not None
    return re.findall(r"^\| `(\w+)` \|", table.group(1), re.MULTILINE)


def named_modules(text: str) -> set[str]:
    """Modules of the package that are named by their path, or below the heading of their folder."""
    named, folder = set(), None
    for line in text.splitlines():
        if line.startswith("#"):
            heading = re.fullmatch(r"### `(.+)/`", line)
            folder = heading.group(1).removeprefix("branchtrack") if heading else None
        for name in re.findall(r"`([\w/]+\.py)", line):
            named.add(name)
            if folder is not None:
                named.add(f"{folder}/{name}".lstrip("/"))
    return named


def modules() -> set[str]:
    """Every module of the package by its path in it; a folder's own sentence is no module."""
    return {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if path.name != "__init__.py" and "_assets" not in path.parts
    }


@cache
def routes() -> frozenset[str]:
    """Every route of the server, as ``METHOD /path``."""
    app = Flask("routes", static_folder=None)
    for package in ("api", "events", "pages", "protocol"):
        path = [f"{web.__path__[0]}/{package}"]
        for module in pkgutil.iter_modules(path, f"{web.__name__}.{package}."):
            names = vars(importlib.import_module(module.name))
            for name in {"blueprint", "root_blueprint"} & names.keys():
                app.register_blueprint(names[name])
    return frozenset(
        f"{method} {rule.rule}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    )


def named_routes(text: str) -> set[str]:
    return set(re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /[^`\s]*)`", text))


def variables() -> set[str]:
    """The environment variables that are read or set."""
    constants = vars(environment_variables).items()
    return {value for name, value in constants if name.endswith("_VARIABLE")}


def unknown_variables(text: str) -> set[str]:
    return set(re.findall(r"BRANCHTRACK_[A-Z_]+", text)) - variables() - TEST_VARIABLES


@cache
def text_of_tests() -> str:
    return "\n".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")
    )


def unknown_tests(text: str) -> set[str]:
    """Tests that are named and do not exist."""
    named = re.findall(r"`(test_\w+)`", text)
    return {name for name in named if f"def {name}(" not in text_of_tests()}


def anchors(text: str) -> set[str]:
    """What a link may name within a document: its headings, as GitHub writes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(name: str, text: str) -> Iterator[str]:
    """Relative links of the document ``name`` that lead nowhere."""
    for link in LINK.findall(FENCE.sub("", text)):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        path = ((ROOT / name).parent / target).resolve() if target else ROOT / name
        if not path.exists():
            yield link
        elif anchor and anchor not in anchors(path.read_text("utf-8") if target else text):
            yield link


def in_documents(offenders: Iterable[tuple[str, Iterable[str]]]) -> list[str]:
    return [f"{name}: {offender}" for name, every in offenders for offender in every]


@pytest.mark.parametrize(
    "check",
    [
        missing_paths,
        unknown_commands,
        unknown_options,
        unknown_settings,
        unknown_variables,
        unknown_tests,
    ],
)
def test_what_a_document_names_exists(check: Check) -> None:
    assert in_documents((name, check(text)) for name, text in documents().items()) == []


@pytest.mark.parametrize(
    ("check", "text", "offender"),
    [
        (missing_paths, "see `training/steer/nowhere.py`", "training/steer/nowhere.py"),
        (missing_paths, "in `nowhere.py: submit`", "nowhere.py"),
        (missing_paths, "look in `training/nowhere/`", "training/nowhere/"),
        (unknown_commands, "```sh\nbranchtrack conjure demo\n```", "branchtrack conjure"),
        (unknown_commands, "run `branchtrack --home x conjure`", "branchtrack conjure"),
        (unknown_commands, "run `branchtrack tree demo --hidden`", "tree --hidden"),
        (unknown_options, "with `--hidden`", "--hidden"),
        (unknown_settings, "`branchtrack set demo lr=1 speed=2`", "speed"),
        (unknown_settings, "`branchtrack resume 3f2a --set speed=2`", "speed"),
        (unknown_variables, "`BRANCHTRACK_NOTHING=1`", "BRANCHTRACK_NOTHING"),
        (unknown_tests, "| `test_that_nobody_wrote` |", "test_that_nobody_wrote"),
    ],
)
def test_what_does_not_exist_is_noticed(check: Check, text: str, offender: str) -> None:
    assert list(check(text)) == [offender]


def test_every_module_is_in_the_architecture() -> None:
    assert modules() - named_modules(documents()[ARCHITECTURE]) == set()


def test_every_module_under_a_heading_is_in_that_folder() -> None:
    tables = documents()[ARCHITECTURE].partition("\n## Modules\n")[2].partition("\n## ")[0]
    rows = "\n".join(re.findall(r"^(?:###|\| `).*$", tables, re.MULTILINE))
    below = {name for name in named_modules(rows) if "/" in name or (PACKAGE / name).exists()}
    assert below == modules()


def test_a_module_that_is_not_named_is_noticed() -> None:
    text = "### `core/`\n\n| `tree.py` |\n\n## More\n\n| `names.py` | `db/runs.py` |"
    named = named_modules(text)
    assert {"core/tree.py", "db/runs.py"} <= named
    assert "core/names.py" not in named and "core/names.py" in modules()


def test_every_command_is_in_the_docs() -> None:
    assert set(COMMANDS) == set(shell())
    assert {name for name in COMMANDS if f"`branchtrack {name}`" not in docs_folder()} == set()


def test_every_setting_is_in_the_table() -> None:
    table = table_of_settings(documents()["docs/steering.md"])
    assert sorted(table) == sorted(built_in_settings())


def test_a_setting_that_is_not_in_the_table_is_noticed() -> None:
    table = table_of_settings(
        "| setting | meaning |\n| --- | --- |\n| `lr` | rate |\n\n| `eps` |\n"
    )
    assert table == ["lr"] and "eps" in built_in_settings()


def test_every_route_of_the_api_is_in_the_docs_and_no_other() -> None:
    named = named_routes(documents()["docs/api.md"])
    expected = {route for route in routes() if " /api/" in route} | {"GET /runs/<run>/events"}
    assert expected <= routes()
    assert named == expected
    assert (
        in_documents((name, named_routes(text) - routes()) for name, text in documents().items())
        == []
    )


def test_a_route_that_does_not_exist_is_noticed() -> None:
    assert named_routes("### `GET /api/v1/nothing`") - routes() == {"GET /api/v1/nothing"}


def test_every_variable_is_in_the_docs() -> None:
    named = set(re.findall(r"BRANCHTRACK_[A-Z_]+", docs_folder()))
    assert variables() and variables() <= named


def test_the_readme_is_short() -> None:
    assert documents()[README].count("\n") <= 200


def test_every_link_leads_somewhere() -> None:
    assert (
        in_documents((name, broken_links(name, text)) for name, text in documents().items()) == []
    )


@pytest.mark.parametrize(
    "link", ["docs/nowhere.md", "#nowhere", "docs/api.md#nowhere", "tests/nowhere.png"]
)
def test_a_link_that_leads_nowhere_is_noticed(link: str) -> None:
    (broken,) = broken_links(README, f"# Here\n\n[on](#here) [on](docs/api.md#errors) [x]({link})")
    assert broken == link
