"""Packed layers: deterministic tar in zstd frames with a table of contents; readers that trust nothing; deltas.

::

    layer      pack, scan, extract a layer; read a directory back        the room's face
    extract    all layers of an install at once: frames on a few threads
    toc        the table of contents           agreement    whether table and tar say the same
    layerfile  a layer read at any place       framewriter  cutting a tar into frames, compressed side by side
    unpack     a layer as a stream             kata         which members an archive may have, and the tree they make
    tarreader  members of a tar stream         placer       entries on disk
    tarwriter  a tar stream of entries         directories  descriptors below one root
    tarheader  the 512-byte blocks             known        files linked, cloned or copied from others on disk
    holes      runs of zeros                   durable      flushing
    workers    a few threads, one error        readahead    decoding beside hashing and writing
    zstd       frames and streams              frames       their structure, followed without decoding

    deltaformat  what a delta layer says       deltacodec   zstd frames behind a prefix: with zstd the only user of the library
    deltaencode  making one                    deltamatch   old files and places that help
    deltaapply   making files from one         deltacosts   where its bytes went

Imports ``core`` only. Knows nothing of stores, registries, nodes.
"""
