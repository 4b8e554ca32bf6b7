"""Tests of the widgets on our nodes. They are a package, so that its files share a browser and its pages."""
