"""``wattroute serve``: the proxy that routes each chat call before it passes it on."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from router.cli.options import FiniteRange, unused_seed_option
from router.errors import ConfigError

if TYPE_CHECKING:
    from router.dispatch import Routes

__all__ = ["serve"]


@click.command(
    epilog="""\b
Examples:
  wattroute serve --upstream https://api.oxlo.ai/v1 --key-env OXLO_API_KEY
  wattroute serve my-router --upstream http://127.0.0.1:8080/v1 --workers 2 --log decisions.jsonl
  wattroute serve rules.toml --upstream https://api.oxlo.ai/v1 --default-model mistral-24b
"""
)
@click.argument("router_path", required=False, metavar="[DIR]")
@click.option(
    "--upstream",
    required=True,
    metavar="URL",
    help="Base URL of an OpenAI-compatible server, such as https://api.oxlo.ai/v1.",
)
@click.option(
    "--model-upstream",
    "model_upstreams",
    multiple=True,
    metavar="MODEL=URL",
    help="Base URL of the server of one model, if it has its own. No key is sent there.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8000, show_default=True, help="Port to listen on; 0 takes a free one."
)
@click.option("--workers", default=1, show_default=True, help="Processes that serve.")
@click.option(
    "--quality",
    default=0.98,
    show_default=True,
    metavar="Q",
    help="Share of the reference model's quality that traffic must keep, where a request "
    "does not say.",
)
@click.option(
    "--min-probability",
    type=float,
    metavar="P",
    help="Never choose a model whose probability of a good answer is below P.",
)
@click.option(
    "--confidence",
    type=float,
    metavar="C",
    help="Chance with which the quality is to be promised.  [default: 0.9]",
)
@click.option(
    "--group",
    metavar="NAME",
    help="Kind of the prompts that quality is promised for by itself; 'auto' finds it for each.",
)
@click.option(
    "--uncertified",
    type=click.Choice(["reference", "estimate"]),
    help="What serves a bar that the router does not promise: its reference model, or its best "
    "estimate.  [default: estimate for a router without any promise, else reference]",
)
@click.option(
    "--default-model",
    metavar="MODEL",
    help="Where requests go if the router fails.  [default: its reference model]",
)
@click.option("--plan", metavar="NAME", help="Plan of the key, for its token caps: free, pro...")
@click.option(
    "--key-env",
    metavar="NAME",
    help="Environment variable with the key for the upstream. Without it, the key that each "
    "client sends is passed on.",
)
@click.option(
    "--access-key-env",
    metavar="NAME",
    help="Environment variable with a key that clients must send to this proxy.",
)
@click.option(
    "--log",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.jsonl",
    help="Decision log to append to: a line for each decision and each grade.",
)
@click.option("--log-prompts", is_flag=True, help="Log the prompts too, not their hashes alone.")
@click.option(
    "--max-body-mb",
    type=FiniteRange(min=0),
    default=20.0,
    show_default=True,
    help="Largest request in megabytes.",
)
@click.option(
    "--max-in-flight", default=1_000, show_default=True, help="Requests a worker has at a time."
)
@click.option(
    "--connect-timeout", default=5.0, show_default=True, metavar="S", help="Seconds to connect."
)
@click.option(
    "--first-byte-timeout",
    default=300.0,
    show_default=True,
    metavar="S",
    help="Seconds until an answer begins.",
)
@click.option(
    "--idle-timeout",
    default=120.0,
    show_default=True,
    metavar="S",
    help="Seconds between two pieces of an answer.",
)
@click.option(
    "--drain",
    default=30.0,
    show_default=True,
    metavar="S",
    help="Seconds that answers may take to finish after SIGTERM.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the address as JSON when ready.")
@unused_seed_option
def serve(
    router_path: str | None,
    upstream: str,
    model_upstreams: tuple[str, ...],
    host: str,
    port: int,
    workers: int,
    quality: float,
    min_probability: float | None,
    confidence: float | None,
    group: str | None,
    uncertified: str | None,
    default_model: str | None,
    plan: str | None,
    key_env: str | None,
    access_key_env: str | None,
    log: Path | None,
    log_prompts: bool,
    max_body_mb: float,
    max_in_flight: int,
    connect_timeout: float,
    first_byte_timeout: float,
    idle_timeout: float,
    drain: float,
    as_json: bool,
) -> None:
    """Serve an OpenAI-compatible API in which the model 'auto' is chosen for each call.

    DIR is the folder of a router, its URI in an MLflow store such as models:/NAME@ALIAS, or a
    TOML file of task rules; the bundled router where it is not given. Chat calls with the model
    'auto' or 'auto:0.95' are routed, all others and every other endpoint are passed on. SIGHUP
    or changed files load the router again, SIGTERM stops when the answers under way are
    complete.
    """
    # one thread of BLAS: the workers are the parallelism, and it is read when numpy loads
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    from router.serve.settings import Settings
    from router.serve.upstream import Timeouts
    from router.serve.workers import serve as run

    settings = Settings(
        upstream=upstream,
        model_upstreams=dict(map(_model_upstream, model_upstreams)),
        router=router_path,
        host=host,
        port=port,
        workers=workers,
        quality=quality,
        min_probability=min_probability,
        confidence=confidence,
        group=group,
        uncertified=uncertified,
        default_model=default_model,
        plan=plan,
        key=_secret("--key-env", key_env),
        access_key=_secret("--access-key-env", access_key_env),
        log=log,
        log_prompts=log_prompts,
        max_body_bytes=int(max_body_mb * 1e6),
        max_in_flight=max_in_flight,
        drain_s=drain,
        timeouts=Timeouts(connect_timeout, first_byte_timeout, idle_timeout),
    )
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)

    def announce(url: str, router: Routes | None) -> None:
        n_models = 0 if router is None else len(router.models)
        if as_json:
            told = {"url": url, "pid": os.getpid(), "workers": workers, "models": n_models}
            click.echo(json.dumps(told))
        click.echo(f"{url}/v1 routes among {n_models} models of {upstream}", err=True)

    click.get_current_context().exit(run(settings, announce))


def _model_upstream(text: str) -> tuple[str, str]:
    model, equals, url = text.partition("=")
    if not (model and equals and url):
        raise click.UsageError(f"--model-upstream is {text!r}: write MODEL=URL")
    return model, url


def _secret(option: str, name: str | None) -> str | None:
    if name is None:
        return None
    value = os.environ.get(name)
    if not value:
        raise ConfigError(f"{option}: the environment variable {name} is not set")
    return value
