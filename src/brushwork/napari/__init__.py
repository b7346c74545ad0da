"""The napari plugin: layers <-> values, and the dock. Nothing is computed here."""
