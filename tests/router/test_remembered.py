from __future__ import annotations

import numpy as np
import pytest

from router.remembered import RememberedPrompts

HASHES = np.array([7, 2**47, 9])
QUALITY = np.array([[0.5, np.nan], [1.0, 0.0], [np.nan, np.nan]])


def test_missing_grades_come_back_as_missing():
    arrays = RememberedPrompts(HASHES, QUALITY).to_arrays()
    assert all(np.isfinite(array).all() for array in arrays.values())
    found = RememberedPrompts.from_arrays(arrays)
    assert found.hashes.tolist() == HASHES.tolist()
    np.testing.assert_array_equal(found.quality, QUALITY)


def test_a_new_model_has_no_grades():
    found = RememberedPrompts(HASHES, QUALITY).with_model()
    np.testing.assert_array_equal(found.quality[:, :2], QUALITY)
    assert np.isnan(found.quality[:, 2]).all()


@pytest.mark.parametrize(
    ("hashes", "quality", "message"),
    [
        (HASHES[:2], QUALITY, "a row a prompt"),
        (HASHES[:, None], QUALITY, "a row a prompt"),
        (HASHES, QUALITY[:, 0], "a column a model"),
        (HASHES, QUALITY + 0.5, "grades in"),
        (HASHES, QUALITY - 0.5, "grades in"),
    ],
)
def test_what_does_not_fit_is_refused(hashes, quality, message):
    with pytest.raises(ValueError, match=message):
        RememberedPrompts(hashes, quality)


def test_a_stored_grade_out_of_range_is_refused():
    arrays = RememberedPrompts(HASHES, QUALITY).to_arrays()
    arrays["grades"][1, 1] = 2.0
    with pytest.raises(ValueError, match="grades in"):
        RememberedPrompts.from_arrays(arrays)
