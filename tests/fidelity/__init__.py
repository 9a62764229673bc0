"""Programs, run natively and under the guard, and compared."""
