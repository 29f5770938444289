"""Studies: hyperparameters chosen by Optuna, one run after the other."""
