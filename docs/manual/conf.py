# Sphinx configuration of the manual. It needs nothing but Sphinx itself:
#
#     sphinx-build -W --keep-going -b html docs/manual docs/manual/_build/html
#     sphinx-build -W --keep-going -b man  docs/manual docs/manual/_build/man

import pathlib
import re

project = "conc"
author = "the conc authors"
copyright = author
release = re.search(
    r'^const Version = "(.+)"',
    pathlib.Path(__file__).parents[2].joinpath("internal/cli/version.go").read_text(),
    re.M,
).group(1)
version = release

exclude_patterns = ["_build"]
highlight_language = "text"
smartquotes = False  # what is shown here is typed again

html_theme = "alabaster"
html_theme_options = {
    "description": "Change on Command: the manual",
    "fixed_sidebar": True,
    "page_width": "66em",
}
html_show_sourcelink = False
html_copy_source = False

man_pages = [("conc", "conc", "deploy by change on command", author, 1)]
man_show_urls = True
