"""From options and a budget to a plan."""
