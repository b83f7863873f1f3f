"""How good a prior or an asset is."""
