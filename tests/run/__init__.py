"""`guard run` as its caller sees it."""
