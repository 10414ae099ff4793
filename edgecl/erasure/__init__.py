"""Taking samples out again: forgetting, sealed states, the log of calls, training anew without a subject."""
