"""Bundles: trees packed as layers, layers assembled as OCI layouts and tarball sets."""
