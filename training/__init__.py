"""Ingest, splits, fitting, calibration and tracking of routers."""
