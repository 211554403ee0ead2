"""The job service as HTTP: docs/service.md is its contract."""
