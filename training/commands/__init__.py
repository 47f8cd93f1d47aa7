"""Commands of ``wattroute`` that need the extra ``train``."""
