"""The documentation hangs together: navigation, links, blocks, options, figures."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
import re
import tomllib
from contextlib import nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import click
import pytest
import yaml

import docs_text
import mkdocs_hooks
from router.cli import main
from router.energy import Catalogue
from router.energy.validation import validate
from router.errors import ConfigError
from router.pool import load_pool
from router.rules import TaskRules

LANGUAGES = {"", "console", "json", "python", "sh", "text", "toml"}
ROOT = Path(__file__).resolve().parents[2]


def nav_pages(entries: Any) -> list[str]:
    """Return the pages of a nav, in order."""
    if isinstance(entries, str):
        return [entries]
    values = entries.values() if isinstance(entries, dict) else entries
    return [page for entry in values for page in nav_pages(entry)]


def settings() -> Any:
    return yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))


def test_every_page_is_in_the_navigation():
    listed = nav_pages(settings()["nav"])
    assert sorted(listed) == sorted(
        page.removeprefix("docs/") for page in docs_text.PAGES if page != "README.md"
    )
    assert listed[0] == "index.md"


def test_the_site_is_strict_and_fetches_nothing():
    found = settings()
    assert found["strict"] is True
    assert found["theme"]["font"] is False
    checks = found["validation"].copy()
    assert set(checks.pop("nav").values()) | set(checks.values()) == {"warn"}
    assert "extra_javascript" not in found
    assert "extra_css" not in found


def test_the_site_links_to_no_sources():
    page = SimpleNamespace(file=SimpleNamespace(src_uri="decisions/a.md"))
    text = "[up](../b.md#c), [data](../../router/data/x.csv), [site](https://oxlo.ai)\n"
    assert mkdocs_hooks.on_page_markdown(text, page=page, config=None) == (
        "[up](../b.md#c), data, [site](https://oxlo.ai)\n"
    )
    assert mkdocs_hooks.on_page_content(":func:<code>f</code>: done") == "<code>f</code>: done"


def test_links_resolve(page: str):
    for link in docs_text.links_of(page):
        if re.match(r"(https?|mailto):", link):
            continue
        target, _, anchor = unquote(link).partition("#")
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), f"{page}: {link}: there is no such file"
        if page != "README.md" and not path.resolve().is_relative_to(ROOT):
            pytest.fail(f"{page}: {link} leads out of the project")
        if anchor:
            name = path.resolve().relative_to(ROOT).as_posix()
            assert anchor in set(docs_text.headings_of(name)), f"{page}: {link}: no such heading"


def test_pages_begin_with_one_title(page: str):
    titles = re.findall(r"^# .+$", docs_text.prose_of(page), re.MULTILINE)
    assert len(titles) == 1, titles


def test_figures_are_described_and_stand_alone(page: str):
    for alt, target in re.findall(r"!\[([^\]]*)\]\(([^)\s]+)", docs_text.prose_of(page)):
        assert len(alt) > 30, f"{page}: {target} needs a description"
        drawn = ((ROOT / page).parent / target).read_text(encoding="utf-8")
        assert "<title" in drawn
        assert not re.search(r"(href|src)=|url\(['\"]?http|@import", drawn.replace("url(#", ""))


def test_block_is_of_a_known_kind(block: Any):
    assert block.language in LANGUAGES, block.where


def test_no_block_of_commands_passes_for_a_picture(block: Any):
    if block.language not in ("python", "toml", "json", *docs_text.SHELL):
        assert not docs_text.programs_in(block.text), block.where


def test_commands_are_known_behind_variables_and_prompts():
    assert docs_text.programs_in("A=1 B='x' mlflow ui\n") == {"mlflow"}
    assert docs_text.programs_in("$ wattroute models\nmodel  J\n") == {"wattroute"}
    assert docs_text.programs_in("runs/\n  curl\n") == set()


def test_blocks_are_found():
    blocks = [block for page in docs_text.PAGES for block in docs_text.blocks_of(page)]
    assert sum(block.language in ("python", *docs_text.SHELL) for block in blocks) > 60


def test_data_block_is_what_it_says(block: Any, tmp_path: Path):
    if block.language == "json":
        try:
            json.loads(block.text)
        except json.JSONDecodeError:
            assert all(json.loads(line) for line in block.text.splitlines()), block.where
    if block.language != "toml":
        return
    tables = tomllib.loads(block.text)
    file = tmp_path / "block.toml"
    file.write_text(block.text, encoding="utf-8")
    if "rule" in tables:
        TaskRules.load(file)
    elif "model" in tables:
        n_models = len(tables["model"])
        # a part of a pool file may show one model
        with pytest.raises(ConfigError, match="at least two") if n_models < 2 else nullcontext():
            load_pool(file)


def options_of(command: click.Command) -> set[str]:
    """Return the options of a command and of the commands below it."""
    below = command.commands.values() if isinstance(command, click.Group) else ()
    own = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    return own.union({"--help", "-h"}, *map(options_of, below))


def check_words(command: Any) -> None:
    """Check that a command and its options exist, whatever their values."""
    if len(command.words) == 1 or command.words[1].startswith("-"):
        assert set(command.words[1:]) <= {"--help", "-h", "--version"}, command
        return
    context = click.Context(main)
    found = main.get_command(context, command.words[1])
    assert found is not None, f"{command}: no such command"
    words = command.words[2:]
    if isinstance(found, click.Group) and words and words[0] in found.commands:
        found, words = found.commands[words[0]], words[1:]
    given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert given <= options_of(found), f"{command}: no option {given - options_of(found)}"
    if "..." in words or isinstance(found, click.Group) or not words:
        return
    # values too: required ones are there, numbers are numbers, choices are known
    with suppress(click.exceptions.Exit):  # --help
        try:
            found.make_context(command.words[1], list(words))
        except click.BadParameter as error:
            if "does not exist" not in str(error):
                raise AssertionError(str(command)) from error


@pytest.mark.parametrize(
    "line",
    [
        "wattroute fly",
        "wattroute route --speed 3 Hello",
        "wattroute train runs.parquet",  # --out is missing
        "wattroute models --oxlo --jsn",
        "wattroute energy validate --row",
        "wattroute learning-curve pool.toml --seeds many",
    ],
)
def test_the_check_of_commands_finds(line: str):
    (command,) = docs_text.commands_of(docs_text.Block("page.md", 1, "sh", f"{line}\n"))
    with pytest.raises(AssertionError, match=r"page\.md:1"):
        check_words(command)


def test_shell_blocks_are_read_as_a_shell_does():
    text = (
        "# a comment\n"
        "A=1 wattroute route - --quality 0.9 < prompt.txt > out.txt  # another\n"
        "wattroute train 'my runs/' \\\n    --out r && make demo &\n"
        "cat > mine.csv <<'END'\nmodel,source\nx,\"a # b\"\nEND\npip install 'wattroute[train]'\n"
    )
    found = docs_text.commands_of(docs_text.Block("page.md", 3, "sh", text))
    assert [command.words for command in found] == [
        ("wattroute", "route", "-", "--quality", "0.9"),
        ("wattroute", "train", "my runs/", "--out", "r"),
        ("make", "demo"),
        ("cat",),
        ("pip", "install", "wattroute[train]"),
    ]
    assert (found[0].stdin, found[0].stdout, found[0].environment) == (
        "prompt.txt",
        "out.txt",
        {"A": "1"},
    )
    assert (found[3].stdout, found[3].text) == ("mine.csv", 'model,source\nx,"a # b"\n')
    console = docs_text.Block("page.md", 1, "console", "$ wattroute models\nmodel  J\n")
    assert [command.words for command in docs_text.commands_of(console)] == [
        ("wattroute", "models")
    ]


def test_commands_of_blocks_exist(block: Any):
    if block.language not in docs_text.SHELL:
        return
    commands = docs_text.commands_of(block)
    assert commands, f"{block.where}: no command"
    for command in commands:
        if command.program == "wattroute":
            check_words(command)


def test_commands_in_sentences_exist(page: str):
    context = click.Context(main)
    for command in docs_text.inline_commands(page):
        name, words = command.words[1], command.words[2:]
        found = main.get_command(context, name)
        assert found is not None or name.startswith("-"), f"{command}: no such command"
        given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        if found is not None:
            assert given <= options_of(found), f"{command}: no option {given - options_of(found)}"


def test_modules_that_are_run_exist(page: str):
    text = docs_text.read_page(page).replace("\\\n", " ")
    for name, arguments in re.findall(r"python -m (router[\w.]*)([^`\n]*)", text):
        spec = importlib.util.find_spec(name)
        assert spec is not None, f"{page}: python -m {name}"
        assert spec.origin is not None
        source = Path(spec.origin)
        if spec.submodule_search_locations:
            source = source.with_name("__main__.py")
        code = source.read_text(encoding="utf-8")
        assert source.name == "__main__.py" or '__name__ == "__main__"' in code, f"{page}: {name}"
        for option in re.findall(r"--[a-z-]+", arguments):
            assert f'"{option}"' in code, f"{page}: python -m {name} has no {option}"


def test_names_of_modules_in_sentences_exist(page: str):
    for name in set(re.findall(r"`(router(?:\.\w+)+)`", docs_text.prose_of(page))):
        module, _, attribute = name.rpartition(".")
        if importlib.util.find_spec(module) is None:
            module, _, attribute = module.rpartition(".")[0], "", name
        try:
            known = importlib.util.find_spec(name) is not None
        except ModuleNotFoundError:
            known = False
        assert known or hasattr(importlib.import_module(module), attribute), f"{page}: {name}"


def test_reference_pages_name_what_exists():
    for page in docs_text.PAGES:
        for name in re.findall(r"^::: ([\w.]+)$", docs_text.read_page(page), re.MULTILINE):
            module, _, attribute = name.rpartition(".")
            found = importlib.import_module(module)
            assert getattr(found, attribute).__doc__, f"{page}: {name}"
            assert attribute in found.__all__, f"{page}: {name} is not public"


@pytest.mark.parametrize("package", ["router", "router.client", "router.monitor"])
def test_public_names_are_in_the_reference(package: str):
    pages = [page for page in docs_text.PAGES if page.startswith("docs/api/")]
    text = "\n".join(map(docs_text.read_page, pages))
    named = set(re.findall(r"^::: [\w.]+\.(\w+)$", text, re.MULTILINE))
    public = set(importlib.import_module(package).__all__)
    assert public - {"WattRouteError"} <= named  # the base of the errors is in their tree


def test_every_command_and_extra_is_listed():
    tables = {table[0][0]: table for table in docs_text.tables_of("docs/commands.md")}
    commands, extras = tables["command"], tables["extra"]
    listed = [row[0].strip("`") for row in commands[1:]]
    assert sorted(listed) == main.list_commands(click.Context(main))
    known = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    names = {row[0].strip("`") for row in extras[1:]} - {"none"}
    assert names == set(known["optional-dependencies"])


def test_plans_of_oxlo_are_those_of_the_table():
    data = ROOT / "router" / "data" / "oxlo"
    (table,) = (t for t in docs_text.tables_of("docs/oxlo.md") if t[0][0] == "plan")
    shown = {row[0]: [int(cell.replace(",", "")) for cell in row[2:]] for row in table[1:]}
    with (data / "plans.csv").open(encoding="utf-8", newline="") as file:
        columns = ("requests_per_day", "requests_per_minute")
        columns += ("max_prompt_tokens", "max_completion_tokens")
        plans = {row["plan"]: [int(row[c]) for c in columns] for row in csv.DictReader(file)}
    assert shown == plans


def test_spellings_of_ids_are_those_of_the_catalogue():
    (table,) = (t for t in docs_text.tables_of("docs/oxlo.md") if t[0][0] == "model")
    catalogue = Catalogue.default()
    for name, ids in table[1:]:
        entries = {catalogue.find(spelling).name for spelling in ids.split(", ")}
        assert entries == {name}


def headline_figures(page: str) -> dict[str, str]:
    """Return what tables of a page say of each pool's log_energy_ratio."""
    found: dict[str, str] = {}
    for head, *rows in docs_text.tables_of(page):
        if head[:2] == ["pool", "`log_energy_ratio`"]:
            found |= {row[0]: row[1] for row in rows}
    return found


def test_headline_figures_agree():
    readme = headline_figures("README.md")
    assert len(readme) >= 6
    for page in docs_text.PAGES:
        for pool, figure in headline_figures(page).items():
            assert readme[pool] == figure, f"{page}: {pool}"
    index = headline_figures("docs/index.md")
    assert index == readme


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_energies_beside_headline_figures_follow_from_them(page: str):
    tables = [
        t for t in docs_text.tables_of(page) if t[0][:3] == ["pool", "`log_energy_ratio`", "energy"]
    ]
    for pool, ratio, energy, *_ in (row for table in tables for row in table[1:]):
        shown = float(ratio.split()[0])
        # the percentage is that of the ratio before it was rounded to two decimals
        possible = [100 * math.expm1(shown + off) for off in (-0.005, 0.005)]
        assert energy in {f"{value:.0f} %" for value in possible}, pool


@pytest.mark.parametrize("figure", [r"(0\.\d) to (0\.\d) ms", r"factor of (\d) to (\d)"])
def test_recurring_figures_agree(figure: str):
    readme = set(re.findall(figure, docs_text.read_page("README.md").replace("\n", " ")))
    for page in ("docs/index.md", "docs/faq.md", "docs/architecture.md", "docs/oxlo.md"):
        found = set(re.findall(figure, docs_text.read_page(page).replace("\n", " ")))
        assert found <= readme, page


def test_what_a_new_model_gains_is_that_of_its_page():
    (shown,) = re.findall(
        r"with 200 the router reaches ([\d.]+) \[([\d.]+), ([\d.]+)\] of the gain of full data",
        docs_text.read_page("README.md").replace("\n", " "),
    )
    (table,) = (
        t
        for t in docs_text.tables_of("docs/add-a-model.md")
        if t[0][:2] == ["prompts", "ZeroEval, random"]
    )
    column = table[0].index("all 18 models, random")
    (cell,) = (row[column] for row in table if row[0] == "200")
    assert cell == "{} ({} to {})".format(*shown)


def test_errors_of_the_energy_formula_are_those_of_the_command():
    (table,) = (t for t in docs_text.tables_of("docs/energy.md") if t[0][:2] == ["group", "n"])
    found = {group.name: group.statistics() for group in validate()}
    for name, n, median, p90, spearman, *_ in table[1:]:
        figures = found[name]
        assert n == f"{figures['n']:.0f}", name
        shown = [f"{100 * figures[key]:.0f} %" for key in ("median_error", "p90_error")]
        assert [median, p90, spearman] == [*shown, f"{figures['spearman']:.2f}"], name
    chat, gpqa = (table[i][2] for i in (1, 2))
    readme = docs_text.read_page("README.md").replace("\n", " ")
    assert f"the median error is {chat} on chat and {gpqa} on GPQA" in readme


def test_energies_of_bars_are_those_of_the_model_card():
    (table,) = (t for t in docs_text.tables_of("docs/quality-bar.md") if t[0][0] == "bar")
    card = docs_text.tables_of("models/default/README.md")
    (promised,) = (t for t in card if t[0][0] == "prompts like")
    row = next(row for row in promised[1:] if row[:1] + row[2:3] == ["all traffic", "0.9"])
    assert [cells[1] for cells in table[1:]] == row[3:]
    assert [cells[0] for cells in table[1:]] == promised[0][3:]


def test_format_version_is_current():
    from router.artifact import FORMAT_VERSION

    assert f"| `format_version` | {FORMAT_VERSION}." in docs_text.read_page("docs/artifact.md")
