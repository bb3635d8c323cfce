"""The site: `sphinx-build -W --keep-going -b html docs docs/_build/html`. Nothing is fetched while it is built."""

import shutil
from pathlib import Path

from vastnb import __version__

HERE = Path(__file__).parent

# Sphinx reads below this folder only, so the tutorials are copied into it.
shutil.rmtree(HERE / "notebooks", ignore_errors=True)
shutil.copytree(HERE.parent / "notebooks", HERE / "notebooks", ignore=shutil.ignore_patterns(".*"))

project = "vastnb"
author = "the vastnb team"
version = release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "numpydoc", "sphinx_design"]
exclude_patterns = ["_build"]
suppress_warnings = ["misc.highlighting_failure"]  # our errors in a tutorial are one line, not a Python traceback

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_ipywidgets_js = {}  # no script from elsewhere
nb_mime_priority_overrides = [("*", "application/vnd.jupyter.widget-view+json", None)]  # a widget's last table is shown

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc has them in words
numpydoc_show_class_members = False

html_theme = "pydata_sphinx_theme"
html_title = f"vastnb {__version__}"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_sidebars = {"**": ["globaltoc.html"]}
html_theme_options = {
    "navbar_center": [],
    "navbar_align": "right",
    "globaltoc_maxdepth": 1,
    "navbar_end": ["theme-switcher"],
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "show_toc_level": 2,
}


def setup(app):
    """Links to tutorials lead to the files of the repository; on the site, to its copies of them."""
    app.connect("source-read", to_copies)


def to_copies(_app, _page, source):
    source[0] = source[0].replace("](../notebooks/", "](notebooks/")
