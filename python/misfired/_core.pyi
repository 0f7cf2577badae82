"""The compiled core. Stub by hand, checked against the module by mypy's stubtest."""

__version__: str
build_profile: str
