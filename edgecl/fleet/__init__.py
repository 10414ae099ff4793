"""A fleet: many devices learn one model together; samples stay where they are (docs/fleet.md)."""
