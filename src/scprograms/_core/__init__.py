"""Arrays: linear algebra, operators, threads, checks. Knows no AnnData."""
