"""Settings of small networks, for many fits to a few rows."""

SMALL = {"widths": (16,), "learning_rate": 0.01, "max_epochs": 40, "patience": 40, "batch_size": 64}
