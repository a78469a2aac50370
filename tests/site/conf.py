"""Sphinx's settings for the site (``./dev docs``). Nothing is fetched, when it is built or when it is read."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

project = "flyte-build"
html_title = "flyte-build"
copyright = ""
extensions = ["myst_parser", "sphinx.ext.autodoc"]

# Headings have the anchors that forges give them, so that a link holds in both.
myst_heading_anchors = 4
# A link to a file that is no page is a copy of it; what is neither page nor file is refused (-W).
exclude_patterns: list[str] = []
# Our `console`, `toml` and JSON blocks are shortened at times, and then are none.
suppress_warnings = ["misc.highlighting_failure", "myst.header"]

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True
toc_object_entries = False

html_theme = "furo"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_static_path: list[str] = []
html_theme_options = {"navigation_with_keys": True}
