"""Ablations: what to run, what is finished, and what the results say, with how much certainty."""
