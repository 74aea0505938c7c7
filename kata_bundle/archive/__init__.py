"""Packed layers: deterministic tar, zstd, a reader that trusts nothing, and extraction that never leaves its directory.

::

    layer      pack, scan, extract a layer; read a directory back        the room's face
    kata       which members an archive may have, and the tree they make
    tarreader  members of a tar stream         placer       entries on disk
    tarwriter  a tar stream of entries         directories  descriptors below one root
    tarheader  the 512-byte blocks             readahead    decoding beside hashing and writing
    zstd       the only user of the library    frames       its frame structure

Imports ``core`` only. Knows nothing of stores, registries, nodes.
"""
