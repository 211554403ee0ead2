"""The real Azure: its own distillation jobs, and command jobs that run `mwalimu` on its compute."""
