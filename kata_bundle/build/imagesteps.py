"""Steps that make file system images and archives, none of which mounts anything or needs rights.

The same tree gives the same bytes: members sorted, owner 0:0, one date, identities derived from the image's name. Must not know:
what the image is for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kata_bundle.build.actionrules import ImageFormat
from kata_bundle.core.clock import DEFAULT_SOURCE_DATE
from kata_bundle.core.digest import digest_bytes, hex_part

if TYPE_CHECKING:
    from kata_bundle.build.actionrules import ImagePlan

__all__ = ["image_steps"]


# Each text is run with: $1 the folder, $2 the image, $3 a UUID, $4 the label or "", $5 the size in MiB or "", $6 the date,
# $7 a salt, $8 where the root hash goes.

_EXT4: Final = """set -eu
tar --format=gnu --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$6" -C "$1" -cf content.tar .
E2FSPROGS_FAKE_TIME="$6" mkfs.ext4 -q -F -b 4096 -m 0 -O '^has_journal' -U "$3" ${4:+-L "$4"} \\
  -E "hash_seed=$3,root_owner=0:0,lazy_itable_init=0,nodiscard" -d content.tar "$2" "$5M"
"""
"""The content comes as a tar, because a sandbox's user owns the files it sees, and owners are part of this format."""

_EROFS: Final = """set -eu
mkfs.erofs --quiet -zlz4hc -T "$6" --all-time -U "$3" --all-root ${4:+-L "$4"} "$2" "$1"
"""

_SQUASHFS: Final = """set -eu
unset SOURCE_DATE_EPOCH
mksquashfs "$1" "$2" -comp zstd -all-root -mkfs-time "$6" -all-time "$6" -noappend -no-progress -quiet
"""

_CPIO: Final = """set -eu
mkdir content
cp -R -p "$1/." content
cd content
find . -exec touch -h -d "@$6" {} +
find . -print0 | LC_ALL=C sort -z | cpio --quiet -0 -o -H newc --reproducible --owner=+0:+0 > "$2"
"""

_VERITY: Final = """set -eu
size=$(stat -c %s "$2")
blocks=$(( (size + 4095) / 4096 ))
truncate -s $(( blocks * 4096 )) "$2"
veritysetup format --uuid "$3" --salt "$7" --data-block-size 4096 --hash-block-size 4096 --data-blocks "$blocks" \\
  --hash-offset $(( blocks * 4096 )) "$2" "$2" > verity.txt
root=$(sed -n 's/^Root hash:[[:space:]]*//p' verity.txt)
test -n "$root"
printf 'root_hash=%s,salt=%s,data_blocks=%s,data_block_size=4096,hash_block_size=4096\\n' "$root" "$7" "$blocks" > "$8"
"""
"""Appends a dm-verity tree and writes what a kernel needs to check the image, in the spelling of Kata's configuration files."""

_TEXTS: Final = {ImageFormat.EXT4: _EXT4, ImageFormat.EROFS: _EROFS, ImageFormat.SQUASHFS: _SQUASHFS, ImageFormat.CPIO: _CPIO}


def image_steps(plan: ImagePlan, component: str) -> tuple[tuple[str, ...], ...]:
    """Return the argument vectors that make the image of ``plan``, with places in braces as in a rule's own steps."""
    # Two images in one guest must have different identities, two builds of one image the same.
    seed = hex_part(digest_bytes(f"{component} {plan.target}".encode()))
    uuid = f"{seed[:8]}-{seed[8:12]}-4{seed[13:16]}-8{seed[17:20]}-{seed[20:32]}"
    folder, _, name = plan.content.partition("/")
    size = "" if plan.size_mib is None else str(plan.size_mib)
    image = f"{{out}}/{plan.target}"
    words = ("sh", f"{{{folder}}}/{name}", image, uuid, plan.label, size, str(DEFAULT_SOURCE_DATE))
    parent = plan.target.rpartition("/")[0]
    steps: list[tuple[str, ...]] = [("mkdir", "-p", f"{{out}}/{parent}"), ("sh", "-c", _TEXTS[plan.format], *words)]
    if plan.verity:
        folder = plan.verity.rpartition("/")[0]
        steps += [("mkdir", "-p", f"{{out}}/{folder}"), ("sh", "-c", _VERITY, *words, seed, f"{{out}}/{plan.verity}")]
    return tuple(steps)
