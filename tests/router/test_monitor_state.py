from __future__ import annotations

from pathlib import Path

import pytest

from router.errors import ConfigError
from router.monitor import Baseline, Monitor
from router.monitor.state import read_state, write_state

BASELINE = Baseline.of_answers(["small"], ["small"] * 4, [0.5] * 4, [0, 1, 1, 1], bar=0.98)


def test_a_state_survives_a_file(tmp_path: Path):
    path = tmp_path / "state.json"
    assert read_state(path) is None
    monitor = Monitor(BASELINE)
    monitor.add_grade("small", 0.5, 1.0, request_id="a")
    for _ in range(2):  # the second replaces the first
        write_state(path, monitor.to_dict())
    stored = read_state(path)
    assert stored is not None
    assert Monitor.from_dict(BASELINE, stored).to_dict() == monitor.to_dict()
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"]


def test_a_link_stays_a_link(tmp_path: Path):
    (tmp_path / "real.json").write_text("{}")
    link = tmp_path / "link.json"
    link.symlink_to("real.json")
    write_state(link, Monitor(BASELINE).to_dict())
    assert link.is_symlink()
    assert read_state(tmp_path / "real.json") is not None


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b"\xff", b'{"baseline": "x", "bar": "high"}', b"[" * 99999]
)
def test_what_is_no_state_is_refused_and_left_alone(tmp_path: Path, content):
    path = tmp_path / "state.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"state\.json .*state of the monitor"):
        read_state(path)
    assert path.read_bytes() == content


def test_a_folder_cannot_be_a_state(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_state(tmp_path)
    with pytest.raises(ConfigError, match="choose another file"):
        write_state(tmp_path, Monitor(BASELINE).to_dict())
    with pytest.raises(ConfigError, match=r"missing/state\.json cannot be written"):
        write_state(tmp_path / "missing" / "state.json", Monitor(BASELINE).to_dict())
    assert list(tmp_path.iterdir()) == []
