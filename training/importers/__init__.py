"""Evaluation runs from what other tools wrote: one module a format."""
