"""What comes in: labels, samples, the stream buffer of the present task."""
