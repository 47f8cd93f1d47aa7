"""The command line: ``wattroute`` and how it finds its commands.

What serving needs is built in. Every other command comes through the entry-point group
``wattroute.commands``, so that this package never imports training code, and is imported
only when it is called: ``wattroute --help`` stays quick and works without any extra.

Exit codes: 0 success, 1 a finding (the command ran and its answer is no), 2 wrong usage
or input that cannot be used, 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
from importlib import import_module
from importlib.metadata import entry_points

import click

from router.errors import MissingExtraError, WattRouteError

__all__ = ["INTERRUPTED", "main"]

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 and the number of SIGINT."""

_ESCAPED = "wattroute.escaped"

_GROUP = "wattroute.commands"

_BUILT_IN = {
    "graded-runs": "router.cli.graded_runs:graded_runs",
    "energy": "router.cli.energy:energy",
    "explain": "router.cli.explain:explain",
    "models": "router.cli.models:models",
    "monitor": "router.cli.monitor:monitor",
    "route": "router.cli.route:route",
    "serve": "router.cli.serve:serve",
    "serve-benchmark": "router.cli.serve_benchmark:serve_benchmark",
}

_SUMMARIES = {
    "ablate": "Measure what each part of the router is worth.",
    "add-model": "Add a model to a stored router with a few graded prompts.",
    "benchmark": "Compare a router with every baseline on evaluation runs.",
    "calibrate": "Certify a stored router's quality bars on new runs.",
    "collect": "Ask models prompts, grade the answers and write evaluation runs.",
    "demo": "Train, benchmark and try a router on the default evaluation runs.",
    "energy": "Say what a request costs in joules, with its interval and basis.",
    "evaluate": "Measure a stored router on evaluation runs.",
    "explain": "Say why a prompt goes where it goes, and what would change that.",
    "graded-runs": "Write the graded answers of a proxy's decision log as evaluation runs.",
    "import": "Import graded answers of other tools as evaluation runs.",
    "learning-curve": "Show how the router gains with the number of graded prompts.",
    "models": "List the models that are known, with their energy.",
    "monitor": "Watch feedback for drift that breaks the quality promise.",
    "promote": "Make a router the champion, if it is better on held-out runs.",
    "route": "Choose the model for one prompt and say why.",
    "runs": "Look at evaluation runs before learning from them.",
    "select-prompts": "Propose the prompts that are most worth grading.",
    "serve": "Serve an OpenAI-compatible proxy that routes each call.",
    "serve-benchmark": "Measure what the proxy adds to a call, and how many it takes.",
    "sweep": "Search for the parts of the router that suit your runs.",
    "train": "Train a router from evaluation runs.",
    "unseen-tasks": "Measure the router on kinds of tasks that it was not trained on.",
}

_EXTRA_OF_MODULE = {
    "httpx": "serve",
    "joblib": "train",
    "jsonschema": "collect",
    "matplotlib": "train",
    "mlflow": "train",
    "openai": "client",
    "optuna": "sweep",
    "pandas": "train",
    "pyarrow": "train",
    "ray": "ray",
    "reasoning_gym": "train",
    "scipy": "train",
    "sentence_transformers": "encoders",
    "sklearn": "train",
    "starlette": "serve",
    "threadpoolctl": "train",
    "uvicorn": "serve",
}


class _LazyGroup(click.Group):
    """A click group that imports a command when it is called, not when it is listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the built-in and the registered commands, sorted."""
        return sorted({*_BUILT_IN, *entry_points(group=_GROUP).names})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command `cmd_name`, or return None where there is none."""
        if cmd_name in _BUILT_IN:
            module, _, attribute = _BUILT_IN[cmd_name].partition(":")
            command = getattr(import_module(module), attribute)
        else:
            found = tuple(entry_points(group=_GROUP, name=cmd_name))
            if not found:
                return None
            command = found[0].load()
        if not isinstance(command, click.Command):
            raise click.ClickException(f"{cmd_name}: what is registered is not a click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one line a command without importing any of them."""
        rows = [(name, _SUMMARIES.get(name, "")) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; errors that a caller can act on become one line, exit code 2."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            module = (error.name or "").partition(".")[0]
            if module not in _EXTRA_OF_MODULE:
                raise
            message = str(MissingExtraError(module, _EXTRA_OF_MODULE[module]))
        except WattRouteError as error:
            message = str(error)
        except BrokenPipeError:
            raise
        except OSError as error:
            reason = error.strerror or str(error)
            message = reason if error.filename is None else f"{error.filename}: {reason}"
            _drop_unwritten()
        except (KeyboardInterrupt, click.Abort):  # the latter at a question
            click.echo("stopped", err=True)
            ctx.exit(INTERRUPTED)
        click.echo(f"error: {message}", err=True)
        ctx.exit(2)


def _drop_unwritten() -> None:
    """Give up what standard output did not take, which would fail again when Python ends."""
    try:
        sys.stdout.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


@click.group("wattroute", cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(
    package_name="wattroute", prog_name="wattroute", message="%(prog)s %(version)s"
)
def main() -> None:
    """Send each prompt to the least-energy LLM that still answers well enough.

    \b
    Example:
      wattroute route "Summarise this ticket in one line: ..." --quality 0.98
    """  # noqa: D301 - click's own escape
    codecs.register_error(_ESCAPED, _as_json_escapes)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPED)


def _as_json_escapes(error: UnicodeError) -> tuple[str, int]:
    r"""Write what a terminal cannot show as \u escapes, with which JSON stays JSON."""
    assert isinstance(error, UnicodeEncodeError)
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end
