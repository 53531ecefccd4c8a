"""Prometheus, prometheus-adapter, dashboards and alerts."""
