"""Run folders after a crash, a full disk or a year: looked at, mended, made smaller, copied."""
