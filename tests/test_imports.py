"""Which package may import what, and what no module may do."""

from __future__ import annotations

import ast
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("router", "eval", "training")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
IMPORT_BUDGET_MS = 150.0

NOT_FOR_SERVING = {
    "joblib",
    "matplotlib",
    "mlflow",
    "pandas",
    "pyarrow",
    "reasoning_gym",
    "scipy",
    "sklearn",
    "torch",
}
# where a function may import what serving does without
MAY_IMPORT = {"router/mlflow_store.py": {"mlflow"}, "router/registry.py": {"mlflow"}}
NOT_ON_IMPORT = NOT_FOR_SERVING | {"openai", "sentence_transformers", "starlette", "uvicorn"}


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted name of all that is imported, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_under(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def forbidden_for(path: Path) -> set[str]:
    everywhere = {"eval", "training", "pickle", "dill", "cloudpickle"}
    folder = path.relative_to(ROOT).parts[0]
    if folder == "router":
        heavy = NOT_FOR_SERVING - MAY_IMPORT.get(shown(path), set())
        return everywhere | heavy | {"router.eval", "router.training"}
    return everywhere | ({"router.training"} if folder == "eval" else set())


def test_there_are_sources():
    assert {path.relative_to(ROOT).parts[0] for path in SOURCES} == set(PACKAGES)


@pytest.mark.parametrize("path", SOURCES, ids=shown)
def test_imports_only_what_its_package_may(path: Path):
    found = sorted(
        name
        for name in imports(parsed(path))
        if any(is_under(name, package) for package in forbidden_for(path))
    )
    assert found == []


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import training", "training"),
        ("from eval import matrix", "eval"),
        ("def f():\n    import sklearn.linear_model as lm", "sklearn"),
        ("from router import training", "router.training"),
        ("import router.eval.matrix", "router.eval"),
    ],
)
def test_the_guard_sees(source: str, name: str):
    assert any(is_under(found, name) for found in imports(ast.parse(source)))


def rank(name: str) -> tuple[bool, bool, str]:
    """Order names as the linter does: constants, classes, functions."""
    return not name.isupper(), not name[0].isupper(), name


@pytest.mark.parametrize("path", SOURCES, ids=shown)
def test_all_is_explicit_and_sorted(path: Path):
    tree = parsed(path)
    public = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)
    ]
    if path.name in {"__init__.py", "__main__.py"} and not public:
        assert all(isinstance(node, ast.Expr | ast.Import | ast.ImportFrom) for node in tree.body)
        return
    assert len(public) == 1, "one __all__, a literal"
    assert list(public[0]) == sorted(set(public[0]), key=rank)


@pytest.mark.parametrize("path", SOURCES, ids=shown)
def test_never_runs_code_from_data(path: Path):
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg == "allow_pickle":
                    assert isinstance(keyword.value, ast.Constant), f"line {node.lineno}"
                    assert keyword.value.value is False, f"line {node.lineno}"
            name = ast.unparse(node.func)
            if path.name == "sandbox_child.py" and name == "exec":
                continue  # what it is for, after it has locked itself down
            assert name not in {"eval", "exec", "torch.load", "joblib.load"}, f"line {node.lineno}"
            if name in {"np.load", "numpy.load"}:
                given = {keyword.arg for keyword in node.keywords}
                assert "allow_pickle" in given, f"line {node.lineno}: say allow_pickle=False"


@pytest.mark.parametrize("path", SOURCES, ids=shown)
def test_module_is_small(path: Path):
    assert path.stat().st_size <= 20_480


def run_python(code: str) -> str:
    """Run code in a fresh interpreter that keeps its compiled modules."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(code: str) -> set[str]:
    names = json.loads(run_python(f"import json, sys\n{code}\nprint(json.dumps([*sys.modules]))"))
    return {name.partition(".")[0] for name in names}


def test_import_loads_nothing_heavy():
    assert loaded_by("import router") & NOT_ON_IMPORT == set()


def test_every_module_of_router_imports_without_training_packages():
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in SOURCES
        if path.relative_to(ROOT).parts[0] == "router"
    ]
    code = "\n".join(f"import {module}" for module in modules)
    names = json.loads(run_python(f"import json, sys\n{code}\nprint(json.dumps([*sys.modules]))"))
    assert {name.partition(".")[0] for name in names} & NOT_FOR_SERVING == set()
    assert not [n for n in names if is_under(n, "router.eval") or is_under(n, "router.training")]


def test_import_is_quick():
    code = (
        "from time import perf_counter\nstart = perf_counter()\nimport router\n"
        "print(1000 * (perf_counter() - start))"
    )
    run_python(code)  # compiles
    medians_ms = []
    for _ in range(3):  # a busy machine gets a second and a third chance
        medians_ms.append(statistics.median(float(run_python(code)) for _ in range(7)))
        if medians_ms[-1] <= IMPORT_BUDGET_MS:
            return
    pytest.fail(f"import router takes {min(medians_ms):.0f} ms, budget {IMPORT_BUDGET_MS:.0f} ms")
