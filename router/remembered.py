"""What a router remembers of the training prompts that it compares others with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["RememberedPrompts"]

_NO_GRADE = -1.0


@dataclass(frozen=True, slots=True)
class RememberedPrompts:
    """Hashes of training prompts, and what each model scored on them; no texts.

    Attributes
    ----------
    hashes : ndarray of shape (n_bank,)
        int64 hashes of the texts, as in a router's lineage.
    quality : ndarray of shape (n_bank, n_models)
        Grades in [0, 1], NaN where a model was not graded.

    Raises
    ------
    ValueError
        If the sizes do not fit each other, or a grade is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> found = RememberedPrompts(np.array([7]), np.array([[0.5, np.nan]]))
    >>> RememberedPrompts.from_arrays(found.to_arrays()).quality
    array([[0.5, nan]])
    """

    hashes: NDArray[np.int64]
    quality: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.hashes.ndim != 1 or self.quality.shape[:1] != self.hashes.shape:
            raise ValueError(
                f"hashes and quality must have a row a prompt, not {self.hashes.shape} and "
                f"{self.quality.shape}"
            )
        if self.quality.ndim != 2 or (self.quality < 0.0).any() or (self.quality > 1.0).any():
            raise ValueError("quality must be grades in [0, 1], a column a model")

    def with_model(self) -> RememberedPrompts:
        """Return them with one more model, which was graded on none of them."""
        unknown = np.full((len(self.hashes), 1), np.nan)
        return RememberedPrompts(self.hashes, np.hstack([self.quality, unknown]))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays to store, all finite; :meth:`from_arrays` takes them back."""
        grades = np.where(np.isnan(self.quality), _NO_GRADE, self.quality)
        return {"hashes": self.hashes, "grades": grades.astype(np.float16)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> RememberedPrompts:
        """Build them from stored arrays.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            As :meth:`to_arrays` returns them.

        Raises
        ------
        KeyError
            If an array is missing.
        ValueError
            If the sizes do not fit each other, or a grade is out of range.
        """
        grades = np.asarray(arrays["grades"], np.float64)
        grades[grades == _NO_GRADE] = np.nan
        return cls(np.asarray(arrays["hashes"], np.int64), grades)
