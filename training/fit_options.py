"""Which parts of the router take part in a fit, so that each can be left out and measured."""

from __future__ import annotations

from dataclasses import dataclass, field

from router.dial import DialShape
from router.errors import ConfigError
from router.training.blocks import BLOCKS
from router.training.heads import FAMILIES

__all__ = ["DEFAULT_HEADS", "FitOptions"]

DEFAULT_HEADS: tuple[str, ...] = tuple(name for name in FAMILIES if name != "neighbours")
"""All families but the neighbours: their bank has to be read for every decision, and they saved no
energy out of fold (docs/ablation.md)."""


@dataclass(frozen=True, slots=True)
class FitOptions:
    """Parts of the router; by default those that are worth their time.

    Attributes
    ----------
    blocks : tuple of str
        Feature blocks of all heads but the trees, of :data:`router.training.blocks.BLOCKS`.
    heads : tuple of str
        Families of candidate heads, of :data:`router.training.heads.FAMILIES`.
    stacks : tuple of str or None
        Names of the ways of stacking, such as ``pool-6-linear``; all that fit the pool where None.
    extra_models : bool
        Whether models outside the pool take part in the stacks.
    evidence_shrinkage : bool
        Whether each direction of a stack is shrunken by its evidence.
    length_head : bool
        Whether lengths depend on the prompt; each model's mean otherwise.
    pruning : bool
        Whether models that others dominate in the mean are taken off the dial where that pays out
        of fold. Off: chosen on one half of the prompts it lost on the other half.
    dial : DialShape
        Which kinds of settings are on the dial.

    Raises
    ------
    ConfigError
        If a name is unknown, or no block or family is left.
    """

    blocks: tuple[str, ...] = BLOCKS
    heads: tuple[str, ...] = DEFAULT_HEADS
    stacks: tuple[str, ...] | None = None
    extra_models: bool = True
    evidence_shrinkage: bool = True
    length_head: bool = True
    pruning: bool = False
    dial: DialShape = field(default_factory=DialShape)

    def __post_init__(self) -> None:
        for part, known in (("blocks", BLOCKS), ("heads", FAMILIES)):
            names = getattr(self, part)
            if not names or not set(names) <= set(known):
                raise ConfigError(f"{part} is {names!r}: use one or more of {', '.join(known)}")
