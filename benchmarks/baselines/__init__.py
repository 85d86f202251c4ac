"""The paper's model in PyTorch, trained in three ways: what ours is timed against.

`idiomatic` is what an author would write, `tuned` what one would write who counts microseconds, `stacked`
many models at once with `torch.func`. All three take the same steps on the same loss: `agreement` checks it
before anything is timed.
"""
