"""Collecting evaluation runs: ask models prompts, store every answer, grade, write the runs."""
