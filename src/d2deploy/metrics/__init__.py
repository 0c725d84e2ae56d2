"""How good results are: one file per measure, thin over the libraries that define it."""
