"""How far a training stands back for whoever clicks: priority, threads, memory of the GPU.

On a machine that serves as well, a click must stay quick while a network learns.
"""

import logging
import os

from backend.settings import Settings

_log = logging.getLogger(__name__)

_LIBRARIES = ("OMP", "OPENBLAS", "MKL", "NUMEXPR")


def before_torch(settings: Settings) -> None:
    """Of the whole process; must come before torch and numpy are loaded, which read it then."""
    # Threads that wait for work would else burn the time that a click needs.
    os.environ["OMP_WAIT_POLICY"] = "passive"
    for library in _LIBRARIES:
        os.environ[f"{library}_NUM_THREADS"] = str(settings.training_threads)
    if settings.training_device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    # Threads that are started later inherit it.
    os.nice(settings.training_nice)


def of_thread(settings: Settings) -> None:
    """Of the thread that computes: torch counts its helpers for each thread anew."""
    import torch

    torch.set_num_threads(settings.training_threads)
    if settings.training_device != "cpu" and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(settings.training_gpu_share)
