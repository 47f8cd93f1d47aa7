"""Run the tests of the core with the oldest release of every core dependency."""

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Return the exit code of pytest."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    oldest = [need.replace(">=", "==") + ".*" for need in project["dependencies"]]
    print("Testing with", ", ".join(oldest), flush=True)
    with tempfile.TemporaryDirectory(prefix="wattroute-") as name:
        python = Path(name) / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", name], check=True)
        wanted = [
            "--editable",
            ".[client,serve]",
            "pytest",
            "hypothesis",
            "schemathesis",
            "opentelemetry-sdk",
            *oldest,
        ]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], cwd=ROOT, check=True)
        return subprocess.run([python, "-m", "pytest", "-q", "tests/router"], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
