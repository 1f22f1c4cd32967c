"""The suite as OpenWrt packages: recipes for its build system, and `.ipk` files without it."""
