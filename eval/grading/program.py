"""Grader of code: tests run in a sandbox."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from router.errors import DataError
from router.eval.grading.final_answer import without_reasoning
from router.eval.grading.records import Grade, GradingItem
from router.eval.grading.sandbox import SandboxLimits, run_sandboxed

__all__ = ["ProgramTests", "program_in"]

_FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ProgramTests:
    """1 where the answer's Python code passes the reference, test code with assertions.

    Runs in :func:`router.eval.grading.sandbox.run_sandboxed`. With a list of tests, each runs
    by itself and the quality is the share that passes.

    Attributes
    ----------
    limits : SandboxLimits
        What one run may use.
    """

    limits: SandboxLimits = field(default_factory=SandboxLimits)
    name: str = "code"

    def grade(self, item: GradingItem) -> Grade:
        """Run the tests."""
        tests = item.reference if isinstance(item.reference, list) else [item.reference]
        if not tests or not all(isinstance(test, str) and test.strip() for test in tests):
            raise DataError(
                "reference has no test code: give Python source or a list of it", field="reference"
            )
        program = program_in(item.answer)
        if not program.strip():
            return Grade(0.0, "no code found")
        results = [run_sandboxed(program, test, limits=self.limits) for test in tests]
        n_passed = sum(result.passed for result in results)
        if n_passed == len(results):
            return Grade(1.0, "passed")
        first = next(result for result in results if not result.passed)
        last_line = first.output.strip().rpartition("\n")[2][:100]
        reason = f"{first.reason}: {last_line}" if last_line else first.reason
        return Grade(n_passed / len(results), reason)


def program_in(text: str) -> str:
    r"""Return the Python code of an answer.

    Parameters
    ----------
    text : str
        What the model wrote.

    Returns
    -------
    str
        All fenced blocks of Python in their order; the whole text where nothing is fenced.

    Examples
    --------
    >>> program_in("Sure:\n```python\nx = 1\n```\nDone.")
    'x = 1\\n'
    """
    visible = without_reasoning(text)
    blocks = _FENCE.findall(visible)
    return "\n".join(blocks) if blocks else visible
