"""The PhraseClick network and its predictor: arrays in, arrays out."""

import os

# After each product of matrices, threads of OpenBLAS (numpy) spin for tens of milliseconds. They
# took as much of the processor as the network itself, and the products here are small.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
