"""The widgets: choose offers in a notebook. A notebook needs anywidget for them, which brings ipywidgets."""

from vastnb.errors import ConfigError

try:
    import anywidget  # noqa: F401
except ImportError as error:
    raise ConfigError(
        f"the widgets need a package that is not here: {error.name}",
        original=error,
        hint="pip install anywidget, also where JupyterLab itself is installed; then restart the kernel",
    ) from error

from vastnb.api.widgets.fleet import FleetPanel
from vastnb.api.widgets.health import HealthPanel
from vastnb.api.widgets.launching import LaunchPanel
from vastnb.api.widgets.selector import OfferSelector

__all__ = ["FleetPanel", "HealthPanel", "LaunchPanel", "OfferSelector"]
