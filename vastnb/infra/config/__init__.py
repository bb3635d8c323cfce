"""Settings: one frozen model (`model`), and where each value comes from (`load`)."""

from vastnb.infra.config.load import PROFILES, config_file, load_settings, trust_folder_file
from vastnb.infra.config.model import VAST_URL, BudgetSettings, CacheSettings, SandboxSettings, Settings

__all__ = [
    "PROFILES",
    "VAST_URL",
    "BudgetSettings",
    "CacheSettings",
    "SandboxSettings",
    "Settings",
    "config_file",
    "load_settings",
    "trust_folder_file",
]
