"""What runs tell those who operate them: structured logs, Prometheus metrics, OpenTelemetry traces.

All of it is off until `setting_up.begin` turns it on; nothing here is imported by anything that
imports fast, and nothing of it decides a result.
"""
