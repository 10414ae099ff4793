"""The training core that the learner and the runner share."""
