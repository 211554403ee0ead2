"""What the service knows, in one SQLite file: jobs, leases, events, names, tokens, the audit."""
