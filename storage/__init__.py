"""Replay larger than RAM: a sample store on flash, an episodic memory in RAM, a carousel between them."""
