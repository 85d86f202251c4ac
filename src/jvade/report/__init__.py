"""What a person sees: figures, folders of results, the terminal. Draws and writes, computes nothing."""
