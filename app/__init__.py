"""The window: shows state and asks for work. No mathematics, no file formats."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
"""Before numpy is loaded, by window and command line alike. Its products are those of slices: sharing them out to
threads takes longer, and a thread that waits for another spins. By a running step a slice was held up for a fifth of a
second.
"""
