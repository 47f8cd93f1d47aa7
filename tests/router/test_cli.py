from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

import router.cli
from router.cli import main
from router.energy import EnergyInterval
from router.errors import ArtifactError, ConfigError


@dataclass
class StubRouter:
    """Stands for `router.Router`: remembers what it was asked and answers the same always."""

    loaded: list[Any]
    asked: list[tuple[Any, ...]]
    promised: list[tuple[Any, ...]]
    error: Exception | None = None

    def load(self, path: str | None = None) -> StubRouter:
        self.loaded.append(path)
        return self

    def route(
        self,
        prompt: Any,
        *,
        quality: float,
        confidence: float = 0.9,
        group: str | None = None,
        uncertified: str | None = None,
        min_probability: float | None = None,
        allowed: tuple[str, ...] | None = None,
        guard: bool = True,
    ) -> SimpleNamespace:
        if self.error is not None:
            raise self.error
        self.asked.append((prompt, quality, min_probability, allowed, guard))
        self.promised.append((confidence, group, uncertified))
        return decision(quality)


def candidate(model: str, probability: float, energy_j: float, chosen: bool) -> SimpleNamespace:
    return SimpleNamespace(
        model=model,
        probability=probability,
        energy_j=EnergyInterval(energy_j, energy_j / 2, energy_j * 2, "estimated"),
        completion_tokens=1234.4,
        chosen=chosen,
        reason="least energy at the bar" if chosen else "more energy than it is worth",
    )


def decision(quality: float) -> SimpleNamespace:
    return SimpleNamespace(
        model="gemma-3-27b",
        probability=0.91,
        energy_j=EnergyInterval(48.25, 24.0, 96.5, "estimated"),
        quality=quality,
        candidates=(
            candidate("deepseek-r1-0528", 0.97, 12345.0, False),
            candidate("gemma-3-27b", 0.91, 48.25, True),
            candidate("mistral-24b", 0.5, 6.125, False),
        ),
        ranking=("gemma-3-27b", "deepseek-r1-0528", "mistral-24b"),
        reason="saves 99 % of the reference model's energy",
        reference="deepseek-r1-0528",
        warnings=("the energy of deepseek-r1-0528 rests on an assumed length",),
        certificate=SimpleNamespace(
            reason="certified on 900 prompts", confidence=0.9, date="today"
        ),
        floor_certificate=None,
        to_dict=lambda: {"model": "gemma-3-27b", "quality": quality, "prompt": "näive"},
    )


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> StubRouter:
    stub = StubRouter([], [], [])
    monkeypatch.setattr("router.Router", stub, raising=False)
    return stub


def invoke(*arguments: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(main, list(arguments), input=stdin)


def test_help_lists_every_command_without_importing_one():
    code = (
        "import sys\nfrom router.cli import main\n"
        "try:\n    main(['--help'], prog_name='wattroute')\n"
        "except SystemExit as end:\n    print('exit', end.code)\n"
        "print('loaded', [m for m in sys.modules if m.startswith(('router.cli.', 'router.tr'))])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    for name in ("benchmark", "demo", "evaluate", "models", "route", "train"):
        assert f"\n  {name} " in shown
    assert "exit 0" in shown
    assert shown.endswith("loaded []\n")


def test_version():
    assert invoke("--version").output == f"wattroute {importlib.metadata.version('wattroute')}\n"


@pytest.mark.parametrize("arguments", [("nosuch",), ("--nosuch",), ("route", "--nosuch")])
def test_wrong_usage_exits_2(arguments: tuple[str, ...]):
    assert invoke(*arguments).exit_code == 2


def test_registered_summaries_match_the_commands_there_are():
    names = {*router.cli._BUILT_IN}
    names |= importlib.metadata.entry_points(group="wattroute.commands").names
    assert set(router.cli._SUMMARIES) <= names


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Register the command ``plugged`` that runs a function."""

    def register(run: Callable[[], object]) -> None:
        command = click.Command("plugged", callback=run)
        monkeypatch.setattr("router.cli.route.plugged", command, raising=False)
        monkeypatch.setitem(router.cli._BUILT_IN, "plugged", "router.cli.route:plugged")

    return register


def raises(error: BaseException) -> Callable[[], object]:
    def run() -> object:
        raise error

    return run


def test_an_error_of_ours_is_one_line_and_exit_2(plug_in: Any):
    plug_in(raises(ConfigError("pool.toml: 'modles': did you mean 'models'?")))
    result = invoke("plugged")
    assert result.exit_code == 2
    assert result.stderr == "error: pool.toml: 'modles': did you mean 'models'?\n"
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("module", "extra"),
    [("sklearn.linear_model", "train"), ("mlflow", "train"), ("sentence_transformers", "encoders")],
)
def test_a_missing_extra_is_one_line_that_names_it(plug_in: Any, module: str, extra: str):
    plug_in(raises(ModuleNotFoundError(f"No module named {module!r}", name=module)))
    result = invoke("plugged")
    assert result.exit_code == 2
    package = module.partition(".")[0]
    assert result.stderr == f"error: {package} is not installed: pip install 'wattroute[{extra}]'\n"


def test_a_missing_extra_that_shows_on_import(monkeypatch: pytest.MonkeyPatch):
    def load(name: str) -> object:
        raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")

    monkeypatch.setattr(router.cli, "import_module", load)
    result = invoke("models")
    assert result.exit_code == 2
    assert "wattroute[train]" in result.stderr


def test_other_errors_are_not_hidden(plug_in: Any):
    plug_in(raises(ModuleNotFoundError("No module named 'nosuch'", name="nosuch")))
    assert isinstance(invoke("plugged").exception, ModuleNotFoundError)
    plug_in(raises(ZeroDivisionError()))
    assert isinstance(invoke("plugged").exception, ZeroDivisionError)


def test_a_finding_exits_1(plug_in: Any):
    plug_in(lambda: click.get_current_context().exit(1))
    assert invoke("plugged").exit_code == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_ctrl_c_is_no_finding(plug_in: Any, error: BaseException):
    plug_in(raises(error))
    result = invoke("plugged")
    assert result.exit_code == 130
    assert result.stderr == "stopped\n"


def test_what_is_registered_must_be_a_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(router.cli._BUILT_IN, "odd", "router.errors:ConfigError")
    result = invoke("odd")
    assert result.exit_code == 1
    assert "not a click command" in result.stderr


def test_route_shows_every_candidate_least_energy_first(stub: StubRouter):
    result = invoke("route", "Why is the sky blue?")
    assert result.exit_code == 0, result.output
    assert stub.loaded == [None]
    assert stub.asked == [("Why is the sky blue?", 0.98, None, None, True)]
    assert stub.promised == [(0.9, None, None)]
    lines = result.stdout.splitlines()
    assert lines[0] == "gemma-3-27b: saves 99 % of the reference model's energy"
    assert lines[1] == "Quality bar: 0.98 of the reference model, deepseek-r1-0528."
    assert lines[2] == "Promise: certified on 900 prompts (confidence 0.9, today)."
    assert lines[3] == "If it fails: deepseek-r1-0528, mistral-24b."
    rows = lines[7:]
    assert [row.split()[0] for row in rows] == ["mistral-24b", "*", "deepseek-r1-0528"]
    assert " ".join(rows[1].split()) == (
        "* gemma-3-27b 0.910 48.2 24.1 - 96.5 estimated 1,234 least energy at the bar"
    )
    assert "12,345" in rows[2]
    assert "6,172 - 24,690" in rows[2]
    assert "more energy than it is worth" in rows[2]
    assert result.stderr == ("warning: the energy of deepseek-r1-0528 rests on an assumed length\n")


def test_route_passes_the_options_on(stub: StubRouter):
    result = invoke(
        "route",
        "x",
        "--router",
        "mine",
        "--quality",
        "0.9",
        "--min-probability",
        "0.5",
        "--allow",
        "a",
        "--allow",
        "b",
        "--no-guard",
        *("--confidence", "0.95", "--group", "math", "--uncertified", "estimate"),
    )
    assert result.exit_code == 0
    assert stub.loaded == ["mine"]
    assert stub.asked == [("x", 0.9, 0.5, ("a", "b"), False)]
    assert stub.promised == [(0.95, "math", "estimate")]


def test_route_json_is_the_decision_alone(stub: StubRouter):
    result = invoke("route", "x", "--json", "--quality", "1")
    assert json.loads(result.stdout) == {"model": "gemma-3-27b", "quality": 1.0, "prompt": "näive"}
    assert "näive" in result.stdout


def test_route_reads_standard_input(stub: StubRouter):
    assert invoke("route", "-", stdin="\ufeffWarum ist der Himmel blau?\n").exit_code == 0
    assert stub.asked[0][0] == "Warum ist der Himmel blau?\n"


@pytest.mark.parametrize("text", ["", "  \n\t"])
def test_an_empty_prompt_is_refused(stub: StubRouter, text: str):
    for result in (invoke("route", text), invoke("route", "-", stdin=text)):
        assert result.exit_code == 2
        assert result.stderr == "error: the prompt is empty\n"
    assert stub.loaded == []


def test_standard_input_that_is_not_text(stub: StubRouter):
    result = invoke("route", "-", stdin=b"\xff\xfe\x00")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: standard input is not UTF-8 text")


@pytest.mark.parametrize("arguments", [(), ("x", "--messages", "chat.json")])
def test_route_wants_one_prompt(stub: StubRouter, arguments: tuple[str, ...]):
    result = invoke("route", *arguments)
    assert result.exit_code == 2
    assert "give either TEXT or --messages" in result.stderr


CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]


@pytest.mark.parametrize("value", [CHAT, {"model": "any", "messages": CHAT}])
def test_route_reads_chat_messages(stub: StubRouter, tmp_path: Any, value: object):
    file = tmp_path / "chat.json"
    file.write_text(json.dumps(value), encoding="utf-8")
    assert invoke("route", "--messages", str(file)).exit_code == 0
    assert invoke("route", "--messages", "-", stdin=json.dumps(value)).exit_code == 0
    assert [prompt for prompt, *_ in stub.asked] == [CHAT, CHAT]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff", "not UTF-8"),
        (b"[]", "at least one"),
        (b'"hello"', "expected a list"),
        (b"{}", "expected a list"),
        (b'{"messages": null}', "expected a list"),
        (b'[{"role": "user"}, "hello"]', "message 2"),
        (b'[{"content": "hello"}]', "message 1"),
    ],
)
def test_bad_chat_files_are_named(stub: StubRouter, tmp_path: Any, content: bytes, reason: str):
    file = tmp_path / "chat.json"
    file.write_bytes(content)
    result = invoke("route", "--messages", str(file))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {file}: ")
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_chat_file_that_is_not_there(stub: StubRouter, tmp_path: Any):
    result = invoke("route", "--messages", str(tmp_path / "none.json"))
    assert result.exit_code == 2
    assert "No such file" in result.stderr
    assert invoke("route", "--messages", str(tmp_path)).exit_code == 2


def test_errors_of_the_router_are_one_line(stub: StubRouter):
    stub.error = ArtifactError("models/x: manifest.json is missing: train it again")
    result = invoke("route", "x")
    assert result.exit_code == 2
    assert result.stderr == "error: models/x: manifest.json is missing: train it again\n"


@pytest.mark.parametrize("name", ["models", "route"])
def test_every_command_has_help_with_an_example(name: str):
    result = invoke(name, "--help")
    assert result.exit_code == 0
    assert f"wattroute {name}" in result.stdout.split("xample", 1)[1]
    assert "--json" in result.stdout


def test_a_file_that_cannot_be_written_is_one_line(monkeypatch: pytest.MonkeyPatch):
    @click.command()
    def broken() -> None:
        raise PermissionError(13, "Permission denied", "report.html")

    monkeypatch.setattr("router.cli.models.models", broken)
    result = CliRunner().invoke(main, ["models"])
    assert result.exit_code == 2
    assert result.stderr == "error: report.html: Permission denied\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_under_standard_output_is_one_line():
    code = "from router.cli import main; main(['models', '--json'])"
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert ended.returncode == 2
    assert ended.stderr == "error: No space left on device\n"


@pytest.mark.parametrize("encoding", ["cp1252", "iso8859-7"])
def test_a_terminal_that_cannot_show_a_name_gets_it_escaped(encoding: str):
    code = (
        "import click, json, router.cli.route\n"
        "from router.cli import _BUILT_IN, main\n"
        "name = 'caf\\xe9-\\u03bb-\\U0001f600'\n"
        "def show():\n"
        "    click.echo(json.dumps(name, ensure_ascii=False))\n"
        "    click.echo(name, err=True)\n"
        "router.cli.route.plugged = click.Command('plugged', callback=show)\n"
        "_BUILT_IN['plugged'] = 'router.cli.route:plugged'\n"
        "main(['plugged'])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": encoding},
        check=True,
    )
    assert json.loads(ended.stdout.decode(encoding)) == "caf\xe9-\u03bb-\U0001f600"
    assert "-\\ud83d\\ude00" in ended.stderr.decode(encoding)
