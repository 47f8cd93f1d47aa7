"""Route each prompt to the least-energy model that still answers well enough."""
