"""``wattroute serve-benchmark``: what the proxy adds to a call, and how many it takes."""

from __future__ import annotations

import json

import click

from router.cli.options import unused_seed_option

__all__ = ["serve_benchmark"]


@click.command(
    "serve-benchmark",
    epilog="""\b
Examples:
  wattroute serve-benchmark
  wattroute serve-benchmark my-router --requests 5000 --calls 500 --json
  wattroute serve-benchmark --litellm .venv-litellm/bin/litellm
""",
)
@click.argument("router_path", required=False, metavar="[DIR]")
@click.option(
    "--requests", default=50_000, show_default=True, help="Requests to measure throughput with."
)
@click.option("--connections", default=32, show_default=True, help="Connections at a time.")
@click.option("--calls", default=2_000, show_default=True, help="Calls a round, for latency.")
@click.option("--rounds", default=5, show_default=True, help="Rounds, of which the median counts.")
@click.option(
    "--litellm",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="LiteLLM's program, to measure its proxy in the same run.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@unused_seed_option
def serve_benchmark(
    router_path: str | None,
    requests: int,
    connections: int,
    calls: int,
    rounds: int,
    litellm: str | None,
    as_json: bool,
) -> None:
    """Measure the proxy on this machine, against an upstream on loopback that answers at once.

    DIR is as for `wattroute serve`. Ends with 1 if a target is missed. Let the machine do nothing
    else meanwhile.
    """
    from router.serve.benchmark import Benchmark, render_figures, run_benchmark, targets_of

    options = Benchmark(router_path, requests, connections, calls, rounds, litellm)
    figures = run_benchmark(options, lambda text: click.echo(text, err=True))
    targets = targets_of(figures)
    if as_json:
        met = {target.name: target.met for target in targets}
        click.echo(json.dumps(figures | {"targets": met}, indent=2))
    else:
        click.echo(render_figures(figures))
    click.get_current_context().exit(0 if all(target.met for target in targets) else 1)
