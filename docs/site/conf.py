"""Sphinx reads this; ``build.py`` calls it with the language and the folders."""

from __future__ import annotations

import os
import sys
from pathlib import Path

SITE = Path(os.environ["IMBIK_SITE"])
sys.path.insert(0, str(SITE))

import imbik  # noqa: E402

language = os.environ["IMBIK_SITE_LANGUAGE"]
project = "imbik"
author = "imbik"
release = version = imbik.__version__
html_title = "imbik"
project_copyright = "MIT"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "mathml", "numbers_of_outputs", "languages", "docstrings"]
exclude_patterns = ["files", "_templates"]
suppress_warnings = ["config.cache"]

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 4
myst_links_external_new_tab = False
nb_execution_mode = "cache"
nb_execution_cache_path = os.environ["IMBIK_SITE_CACHE"]
nb_execution_raise_on_error = True
nb_merge_streams = True
if language == "tr":
    nb_code_prompt_show, nb_code_prompt_hide = "Çözümü göster", "Çözümü gizle"
else:
    nb_code_prompt_show, nb_code_prompt_hide = "Show the solution", "Hide the solution"

figure_language_filename = "{root}.{language}{ext}"

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
add_module_names = False
python_maximum_signature_line_length = 100

html_theme = "furo"
html_static_path = ["_static"]
templates_path = ["_templates"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "language.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1f5f8b", "color-brand-content": "#1f5f8b"},
    "dark_css_variables": {"color-brand-primary": "#8ec5ff", "color-brand-content": "#8ec5ff"},
}
