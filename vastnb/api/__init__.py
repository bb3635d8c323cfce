"""The doors: the ``%vast`` magic, the ``vastnb`` console script and the table of commands behind both."""
