"""How Sphinx makes the site of these pages: `make docs`."""

import sys
from pathlib import Path

import edgecl

sys.path.insert(0, str(Path(__file__).parent))

project = "edgecl"
author = "The edgecl authors"
version = release = edgecl.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "house_docstrings"]
myst_heading_anchors = 3
myst_enable_extensions = ["html_image"]  # <img> with a width, as GitHub shows it
exclude_patterns = ["screenshots/**"]
html_theme = "furo"
html_title = "edgecl"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
highlight_language = "none"
default_role = "code"  # `name` in a docstring is a name
nitpicky = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # signatures are short; types stand in the text
autodoc_class_signature = "mixed"
