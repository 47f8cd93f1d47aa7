"""Certification: from graded prompts that training never saw to a promise about quality."""
