"""Baselines, metrics, benchmark protocol and reports."""
