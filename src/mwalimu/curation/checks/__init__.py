"""One purpose a file; each check is a pure function of one answer."""
