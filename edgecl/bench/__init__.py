"""Benches that travel with the package: latency, energy, memory, flash, and the open training benchmark."""
