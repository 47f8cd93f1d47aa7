"""Make a virtual environment with WattRoute, editable, and the extras named.

Usage: install.py FOLDER EXTRA...

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
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRESS_EVERY_S = 10
NOT_BUILT = re.compile(r"Failed (building wheel for|to build) .*pycosat")


def main() -> int:
    """Make the environment and return the exit code."""
    folder, extras = Path(sys.argv[1]).absolute(), sys.argv[2:]
    say(f"Making {sys.argv[1]} with Python {sys.version.split()[0]}")
    if importlib.util.find_spec("ensurepip") is None:
        return fail("this Python cannot make a virtual environment: apt install python3-venv")
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    pip = Pip(folder)

    say(f"Installing WattRoute with {', '.join(extras)}: about a minute")
    wanted = ["--editable", f".[{','.join(extras)}]"]
    if "train" not in extras:
        return 0 if pip.install(*wanted) else fail(pip.reason())
    if compiler_found():
        if pip.install(*wanted):
            return 0
        if not NOT_BUILT.search(pip.log.read_text()):
            return fail(pip.reason())
    say("No working C compiler: installing reasoning-gym without pycosat.")
    say("The prompts that need pycosat are left out of the default runs, with a count.")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    train = settings["optional-dependencies"]["train"]
    (gym,) = (requirement for requirement in train if requirement.startswith("reasoning-gym"))
    others = [f".[{','.join(extra for extra in extras if extra != 'train')}]".replace("[]", "")]
    if not pip.install("--no-deps", gym):
        return fail(pip.reason())
    needs = [need for need in pip.requirements("reasoning-gym") if "pycosat" not in need]
    train = [requirement for requirement in train if requirement != gym]
    if not pip.install("--editable", *others, *train, *needs):
        return fail(pip.reason())
    return 0


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

    def reason(self) -> str:
        """Return the last lines that pip wrote."""
        lines = self.log.read_text().splitlines()
        return "\n".join(["pip could not install WattRoute:", *lines[-15:], f"All: {self.log}"])

    def requirements(self, package: str) -> list[str]:
        """Return what an installed package requires, extras aside."""
        code = "import importlib.metadata as m, sys; print('\\n'.join(m.requires(sys.argv[1])))"
        lines = subprocess.run(
            [self.python, "-c", code, package], check=True, capture_output=True, text=True
        ).stdout.splitlines()
        return [line for line in lines if "extra ==" not in line]


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
