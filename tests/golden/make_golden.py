"""Make the golden router of the current format version: ``python tests/golden/make_golden.py``.

A small router is trained on invented prompts and answers with a fixed seed, and written to
``format-N/router`` beside this file, with requests and the decisions that it gave in
``format-N/decisions.json``. A released version's folder is never made again: its test says
whether this release still decides the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router import Router
from router.artifact import FORMAT_VERSION, write_artifact
from router.eval.matrix import AnswerMatrix
from router.features import FeatureSpec
from router.pool import Pool, PoolModel
from router.training.train import train_router

HERE = Path(__file__).resolve().parent
SPEC = FeatureSpec(encoder="precomputed:3", n_buckets=64)
N_PROMPTS, N_DIMENSIONS, SEED = 260, 3, 20261123
MODELS = (("small", 0.1), ("middle", 0.6), ("large", 4.0))
KINDS = (
    ("sums", "Add {a} to {b} and take {c} away."),
    ("poems", "Write {a} lines about the {x} and the {y}."),
    ("proofs", "Prove that no {x} of {a} parts fits {b} parts of a {y}."),
)
THINGS = ("apple", "bridge", "candle", "desert", "engine", "forest")
CHANCE = np.array([[0.97, 0.97, 0.98], [0.30, 0.96, 0.97], [0.05, 0.30, 0.95]])
TOKENS = np.array([[30.0, 40.0, 60.0], [150.0, 150.0, 250.0], [300.0, 400.0, 900.0]])
REQUESTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("Add 512 to 635 and take 144 away.", {"quality": 0.8}),
    ("Add 512 to 635 and take 144 away.", {"quality": 0.98, "uncertified": "estimate"}),
    ("Write 283 lines about the bridge and the forest.", {}),
    ("Write 283 lines about the bridge and the forest.", {"quality": 0.8}),
    ("Write 283 lines about the bridge and the forest.", {"quality": 0.6, "confidence": 0.8}),
    ("Prove that no engine of 419 parts fits 377 parts of a candle.", {"quality": 0.7}),
    ("Prove that no engine of 419 parts fits 377 parts of a candle.", {"min_probability": 0.8}),
    ("Write 613 lines about the apple and the desert.", {"allowed": ["small", "middle"]}),
    ("Write 613 lines about the apple and the desert.", {"quality": 0.7, "group": "poems"}),
    ("SELECT id, name FROM users WHERE id = 7; -- explain", {"quality": 0.6}),
    ("SELECT id, name FROM users WHERE id = 7; -- explain", {"quality": 0.6, "guard": False}),
    ("", {"quality": 0.6}),
)


def embedding(prompt: str) -> list[float]:
    """Return three numbers of a prompt, the same on every machine."""
    os.environ.setdefault("SOURCE_DATE_EPOCH", "1795392000")  # the date of the certificates
    digest = hashlib.sha256(prompt.encode()).digest()
    kind = [name in prompt for name in ("Add", "Write", "Prove")]
    return [round(digest[i] / 4096 + kind[i], 6) for i in range(N_DIMENSIONS)]


def invented_runs() -> AnswerMatrix:
    """Return graded answers of three models that do not exist."""
    rng = np.random.default_rng(SEED)
    kinds = rng.integers(0, len(KINDS), N_PROMPTS)
    prompts = []
    for kind in kinds:
        a, b, c = rng.integers(2, 999, 3)
        x, y = rng.choice(THINGS, 2, replace=False)
        prompts.append(KINDS[kind][1].format(a=a, b=b, c=c, x=x, y=y))
    shape = (N_PROMPTS, len(MODELS))
    lengths = TOKENS[kinds] * np.exp(0.2 * rng.standard_normal(shape))
    embeddings: NDArray[np.float32] = np.array([embedding(p) for p in prompts], np.float32)
    return AnswerMatrix(
        prompts=tuple(prompts),
        prompt_ids=tuple(f"p{i}" for i in range(N_PROMPTS)),
        models=tuple(name for name, _ in MODELS),
        quality=(rng.random(shape) < CHANCE[kinds]).astype(float),
        prompt_tokens=np.repeat([[len(prompt) / 4] for prompt in prompts], len(MODELS), axis=1),
        completion_tokens=np.rint(lengths),
        energy_j=np.full(shape, np.nan),
        tasks=tuple(KINDS[kind][0] for kind in kinds),
        groups=np.unique(prompts, return_inverse=True)[1].astype(np.int64),
        embeddings=embeddings,
    )


def pool() -> Pool:
    """Return the three candidates."""
    return Pool(
        "golden",
        tuple(
            PoolModel(name, name, joules / 10, joules, 0.655, 1.526, "estimated")
            for name, joules in MODELS
        ),
    )


def decisions(router: Router) -> list[dict[str, Any]]:
    """Return each request with the figures of the router's decision."""
    rows = []
    for prompt, arguments in REQUESTS:
        found = router.route(prompt, embedding=embedding(prompt), **arguments)
        rows.append(
            {
                "prompt": prompt,
                "embedding": embedding(prompt),
                "arguments": arguments,
                "model": found.model,
                "ranking": list(found.ranking),
                "reference": found.reference,
                "price": found.price,
                "novelty": found.novelty,
                "certified": found.certificate is not None and found.certificate.holds,
                "candidates": {
                    candidate.model: {
                        "probability": candidate.probability,
                        "completion_tokens": candidate.completion_tokens,
                        "energy_j": [
                            candidate.energy_j.low_j,
                            candidate.energy_j.value_j,
                            candidate.energy_j.high_j,
                        ],
                    }
                    for candidate in found.candidates
                },
            }
        )
    return rows


def main() -> None:
    """Write the router and its decisions."""
    folder = HERE / f"format-{FORMAT_VERSION}"
    if (folder / "decisions.json").exists() and "--replace" not in sys.argv[1:]:
        sys.exit(f"{folder} exists: a released format is kept; --replace makes it again")
    os.environ.setdefault("SOURCE_DATE_EPOCH", "1795392000")  # the date of the certificates
    digest = hashlib.sha256(b"invented").hexdigest()
    trained = train_router(
        invented_runs(),
        pool(),
        data_digest=digest,
        calibration_share=0.4,
        spec=SPEC,
        seed=SEED,
        n_jobs=1,
    )
    card = "# Golden router\n\nTrained on invented runs by `tests/golden/make_golden.py`.\n"
    write_artifact(trained.artifact, folder / "router", card)
    shown = decisions(Router.load(folder / "router"))
    lines = ",\n".join(json.dumps(row, ensure_ascii=False, sort_keys=True) for row in shown)
    (folder / "decisions.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
