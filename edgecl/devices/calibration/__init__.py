"""Measures this machine: kernels, memory, flash, power."""
