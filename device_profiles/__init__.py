"""One TOML file per device; every figure carries its source and a mark."""
