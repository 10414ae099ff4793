"""Sparsity policies made outside edgecl."""
