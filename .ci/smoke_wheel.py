"""Build the distributions, install the wheel elsewhere with its core dependencies, use it.

The wheel is built from the source distribution, so one that lacks a file shows here.
"""

import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TRAINING_ONLY = {"joblib", "matplotlib", "mlflow", "pandas", "pyarrow", "scikit-learn", "scipy"}
PROMPT = "Summarise this ticket in one line: the printer on floor 3 is out of paper."


def main() -> None:
    """Build, install and try; raise on the first thing that is wrong."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="wattroute-") as name:
        folder = Path(name)
        run([sys.executable, "-m", "build", "--outdir", folder / "dist", ROOT])
        (sdist,), (wheel,) = folder.glob("dist/*.tar.gz"), folder.glob("dist/*.whl")
        check_sdist(sdist)
        run([sys.executable, "-m", "venv", folder / "venv"])
        python = folder / "venv" / "bin" / "python"
        run([python, "-m", "pip", "install", "--quiet", "--no-compile", wheel])
        listed = run([python, "-m", "pip", "list", "--format", "freeze"])
        installed = {line.partition("==")[0].lower() for line in listed.splitlines()}
        assert not installed & TRAINING_ONLY, f"core brings {installed & TRAINING_ONLY}"
        try_out(folder / "venv" / "bin", folder)
        size_mb = wheel.stat().st_size / 1e6
    print(f"wheel: {size_mb:.1f} MB, works outside the checkout ({time.monotonic() - start:.0f} s)")


def check_sdist(sdist: Path) -> None:
    """Check that the source distribution has every file that git has."""
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode != 0:  # not a git checkout: nothing to compare with
        return
    missing = {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()} - packed
    assert not missing, f"not in the source distribution: {sorted(missing)}"


def try_out(programs: Path, folder: Path) -> None:
    """Use the installed wheel as a newcomer does."""
    run([programs / "python", "-I", "-c", "import router; router.Router"], folder)
    assert "route" in run([programs / "wattroute", "--help"], folder)
    assert "J" in run([programs / "wattroute", "models"], folder)
    assert '"candidates"' in run([programs / "wattroute", "route", PROMPT, "--json"], folder)
    demo = subprocess.run([programs / "wattroute", "demo"], cwd=folder, capture_output=True)
    message = demo.stderr.decode()
    assert demo.returncode == 2, message
    assert message.count("\n") == 1, message
    assert "wattroute[train]" in message, message


def run(command: list[str | Path], folder: Path = ROOT) -> str:
    """Run a command and return what it printed; show its last lines when it fails."""
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if result.returncode != 0:
        lines = (result.stdout + result.stderr).splitlines()
        sys.exit("\n".join([" ".join(map(str, command)), *lines[-30:]]))
    return result.stdout


if __name__ == "__main__":
    main()
