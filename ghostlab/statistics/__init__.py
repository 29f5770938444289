"""The tests behind a verdict: pure functions of arrays."""
