from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.eval.matrix import AnswerMatrix


@pytest.fixture
def matrix(specialists) -> AnswerMatrix:
    """Prompts of two tasks; the large model lacks 30 grades."""
    quality = specialists.matrix.quality.copy()
    quality[:30, 2] = np.nan
    texts = tuple(
        f"{task} number {i}: {' '.join(f'{task}{(i * 37 + k * k) % 997}' for k in range(20))}?"
        for i, task in enumerate(specialists.matrix.tasks)
    )
    return replace(specialists.matrix, prompts=texts, quality=quality)
