"""Step 1 of compound scaling: which factors of depth, width and resolution are best at the same measured MACs."""
