"""The probes, a file each; a new one is a file here and its name in `PROBES`."""

#: Every probe in running order; each is a module of this package.
PROBES = ("lens", "patch", "heads", "attention", "substitution")
