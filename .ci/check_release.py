"""Build the distributions that are released, check them, and use them as a newcomer does.

Usage: check_release.py [--tag TAG] [--out DIR]; build and twine must be installed. Without a tag
it is a rehearsal: whether version, tag and changelog agree is not asked.
"""

import argparse
import re
import resource
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

from smoke_wheel import PROMPT, ROOT, check_sdist, run, try_out

BUDGET_S = 1.0
TRIES = 5


def main() -> None:
    """Check, build and try; stop at the first thing that is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--tag", help="tag to release, such as v0.1.0")
    parser.add_argument("--out", type=Path, help="empty folder for the distributions")
    options = parser.parse_args()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    if options.tag is not None and (problem := tag_problem(options.tag, version)):
        sys.exit(f"error: {problem}")
    with tempfile.TemporaryDirectory(prefix="wattroute-") as name:
        folder = Path(name)
        out = folder / "dist" if options.out is None else options.out.resolve()
        if out.exists() and any(out.iterdir()):
            sys.exit(f"error: {out} is not empty: what is released must be built from nothing")
        # the wheel is built from the source distribution
        run([sys.executable, "-m", "build", "--outdir", out, ROOT])
        (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
        if f"-{version}-" not in wheel.name or not sdist.name.endswith(f"-{version}.tar.gz"):
            sys.exit(f"error: built {wheel.name} and {sdist.name}, not version {version}")
        run([sys.executable, "-m", "twine", "check", "--strict", sdist, wheel])
        check_sdist(sdist)
        run([sys.executable, "-m", "venv", folder / "venv"])
        programs = folder / "venv" / "bin"
        run([programs / "python", "-m", "pip", "install", "--quiet", wheel])
        try_out(programs, folder)
        best_s = best_time_s([programs / "wattroute", "route", PROMPT], folder)
        if best_s > BUDGET_S:
            sys.exit(f"error: wattroute route takes {best_s:.2f} s, more than {BUDGET_S:g} s")
    print(f"{sdist.name}, {wheel.name}: good; wattroute route takes {best_s:.2f} s")


def tag_problem(tag: str, version: str) -> str | None:
    """Return why this tag cannot be released, or None."""
    if tag != f"v{version}":
        return f"the tag is {tag}, the version in pyproject.toml {version}"
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    if not re.search(
        rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE
    ):
        return f"CHANGELOG.md has no dated entry for {version}"
    return None


def best_time_s(command: list[str | Path], folder: Path) -> float:
    """Return the shortest of some runs in seconds, what other programs take left out.

    On an idle machine that is the time on the clock; on a busy one the processor time, if less.
    """
    times_s = []
    for _ in range(TRIES):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        clock_s = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        times_s.append(min(clock_s, used_s))
    return min(times_s)


if __name__ == "__main__":
    main()
