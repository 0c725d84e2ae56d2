"""One verb a file; each returns a value."""
