"""`turnledger config`: every setting in force and where it came from; secrets are shown as `(set)`."""

import argparse

from api.cli.context import add_data_dir, print_table, settings_of
from api.settings import in_force
from api.settings import settings as all_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_data_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show the settings."""
    current = settings_of(arguments)
    variables = {setting.name: setting.variable for setting in all_settings()}
    rows = [[name, shown, source.value, variables[name]] for name, shown, source in in_force(current)]
    print_table("Settings", {"setting": "left", "value": "left", "from": "left", "variable": "left"}, rows)
    return 0
