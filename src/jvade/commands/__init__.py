"""What the commands beside `jvade paper` do, each a function of its settings."""
