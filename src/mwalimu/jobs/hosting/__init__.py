"""The service as a process: its settings, its address, what it has from the first day."""
