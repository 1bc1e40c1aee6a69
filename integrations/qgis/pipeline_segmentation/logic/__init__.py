"""What the plugin does without QGIS: command lines, what the command prints, and where it is installed."""
