"""Actions as messages of the Remote Execution API v2, byte for byte the same everywhere.

Protocol buffers have no canonical bytes of their own, so everything the specification leaves open is fixed here: repeated fields
in the order that it demands (environment variables, properties, output paths and directory members by name), no unknown or
default fields, ``timeout`` unset, hash function sha256. Golden bytes in the tests keep it so. Must not know: servers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kata_bundle.build.action.model import WORK, normalized
from kata_bundle.core.digest import Digest, digest_bytes, hex_part, parse_digest
from kata_bundle.core.errors import ArchiveError, IntegrityError
from kata_bundle.core.relpath import RelPath, os_bytes, os_text, parse_relpath
from kata_bundle.core.tree import Directory, Entry, File, Symlink, Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.protobuf.message import Message

    from kata_bundle.build.action.model import Action

__all__ = ["EncodedAction", "decode_outputs", "decode_tree", "encode_action", "encode_tree"]

MAX_DIRECTORIES = 1_000_000
"""Directories in a tree that a server may send."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedAction:
    """An action's identity, the messages that a server needs to know it, and the files that its inputs have."""

    digest: Digest
    size_bytes: int
    """Length of the ``Action`` message."""
    messages: Mapping[Digest, bytes]
    """``Action``, ``Command`` and every ``Directory``, by digest."""
    files: Mapping[Digest, int]
    """Digest → length in bytes of every input file."""


def encode_action(action: Action) -> EncodedAction:
    """Return the messages of ``action``; equal actions give equal bytes on every machine."""
    from kata_bundle.build.reapi import remote_execution_pb2 as api

    messages: dict[Digest, bytes] = {}
    root, files = encode_tree(action.input_root(), messages)
    properties = [api.Platform.Property(name=name, value=value) for name, value in action.platform.properties()]
    command = api.Command(
        arguments=action.argv,
        environment_variables=[
            api.Command.EnvironmentVariable(name=name, value=value) for name, value in sorted(action.env.items())
        ],
        output_paths=sorted(action.outputs, key=os_bytes),
        working_directory=WORK,
    )
    message = api.Action(
        command_digest=_put(command, messages),
        input_root_digest=_digest(root, messages),
        salt=action.salt.encode(),
        platform=api.Platform(properties=properties),
    )
    data = message.SerializeToString(deterministic=True)
    digest = digest_bytes(data)
    messages[digest] = data
    return EncodedAction(digest=digest, size_bytes=len(data), messages=messages, files=files)


def encode_tree(tree: Tree, messages: dict[Digest, bytes]) -> tuple[Digest, dict[Digest, int]]:
    """Add the ``Directory`` messages of ``tree`` to ``messages``; return the root's digest and the files with their lengths.

    Modes become the executable bit, hard links files.
    """
    from kata_bundle.build.reapi import remote_execution_pb2 as api

    children: dict[RelPath, dict[bytes, Entry]] = {RelPath(""): {}}
    for path, entry in normalized(tree).entries.items():
        parent, _, name = path.rpartition("/")
        children[RelPath(parent)][os_bytes(name)] = entry
        if isinstance(entry, Directory):
            children[path] = {}
    files: dict[Digest, int] = {}
    digests: dict[RelPath, Digest] = {}
    # Members before their directory: a path sorts before everything below it.
    for path in reversed(list(children)):
        directory = api.Directory()
        for raw, entry in sorted(children[path].items()):
            name = _utf8(raw, path)
            match entry:
                case File(mode=mode, size_bytes=size, digest=digest):
                    directory.files.add(
                        name=name, digest=api.Digest(hash=hex_part(digest), size_bytes=size), is_executable=bool(mode & 0o100)
                    )
                    files[digest] = size
                case Directory():
                    directory.directories.add(
                        name=name, digest=_digest(digests[RelPath(f"{path}/{name}" if path else name)], messages)
                    )
                case Symlink(target=target):
                    directory.symlinks.add(name=name, target=_utf8(os_bytes(target), path))
                case _:  # pragma: no cover - a normalized tree has no hard links
                    msg = "hard link in a normalized tree"
                    raise IntegrityError(msg)
        data = directory.SerializeToString(deterministic=True)
        digests[path] = digest_bytes(data)
        messages[digests[path]] = data
    return digests[RelPath("")], files


def decode_tree(root: bytes, load: Callable[[Digest, int], bytes]) -> Tree:
    """Return the tree of a ``Directory`` message, its members fetched with ``load(digest, length)``.

    Raises :class:`IntegrityError` for a message that is malformed, out of order, or names what a tree cannot have.
    """
    from google.protobuf.message import DecodeError

    from kata_bundle.build.reapi import remote_execution_pb2 as api

    entries: dict[RelPath, Entry] = {}
    pending: list[tuple[str, bytes]] = [("", root)]
    seen = 0
    while pending:
        prefix, data = pending.pop()
        seen += 1
        if seen > MAX_DIRECTORIES:
            msg = f"a tree of more than {MAX_DIRECTORIES} directories"
            raise IntegrityError(msg)
        directory = api.Directory()
        try:
            directory.ParseFromString(data)
        except DecodeError as error:
            msg = f'directory "{prefix or "/"}" is no Directory message: {error}'
            raise IntegrityError(msg) from None
        members: list[Any] = [*directory.files, *directory.directories, *directory.symlinks]
        for member in members:
            if not member.name or "/" in member.name:
                msg = f'directory "{prefix or "/"}" has a member named {member.name[:80]!r}'
                raise IntegrityError(msg)
            if RelPath(prefix + member.name) in entries:
                msg = f'directory "{prefix or "/"}" has two members named "{member.name[:80]}"'
                raise IntegrityError(msg)
            try:
                path = parse_relpath(prefix + member.name)
            except ArchiveError as error:
                raise IntegrityError(str(error)) from None
            if isinstance(member, api.FileNode):
                mode = 0o755 if member.is_executable else 0o644
                entries[path] = File(mode=mode, size_bytes=parsed_length(member.digest), digest=parsed_digest(member.digest))
            elif isinstance(member, api.SymlinkNode):
                entries[path] = Symlink(target=os_text(member.target.encode()))
            else:
                entries[path] = Directory()
                pending.append((f"{path}/", load(parsed_digest(member.digest), parsed_length(member.digest))))
    return Tree.of(entries)


def decode_outputs(result: Any, load: Callable[[Digest, int], bytes]) -> Tree:
    """Return what an ``ActionResult`` message says the command made, paths as the action named them.

    Raises :class:`IntegrityError` like :func:`decode_tree`.
    """
    from google.protobuf.message import DecodeError

    from kata_bundle.build.reapi import remote_execution_pb2 as api

    entries: dict[RelPath, Entry] = {}
    for file in result.output_files:
        mode = 0o755 if file.is_executable else 0o644
        entries[_path(file.path)] = File(mode=mode, size_bytes=parsed_length(file.digest), digest=parsed_digest(file.digest))
    for link in (*result.output_symlinks, *result.output_file_symlinks, *result.output_directory_symlinks):
        entries[_path(link.path)] = Symlink(target=link.target)
    for folder in result.output_directories:
        at = _path(folder.path)
        message = api.Tree()
        try:
            message.ParseFromString(load(parsed_digest(folder.tree_digest), parsed_length(folder.tree_digest)))
        except DecodeError as error:
            msg = f'output "{at}" is no Tree message: {error}'
            raise IntegrityError(msg) from None
        members = {
            digest_bytes(data): data for child in message.children if (data := child.SerializeToString(deterministic=True))
        }
        # An empty directory's message has no bytes.
        members[digest_bytes(b"")] = b""

        def child(digest: Digest, _: int, members: Mapping[Digest, bytes] = members) -> bytes:
            if digest not in members:
                msg = f"directory {digest} is not in the tree that names it"
                raise IntegrityError(msg)
            return members[digest]

        entries[at] = Directory()
        for path, entry in decode_tree(message.root.SerializeToString(deterministic=True), child).entries.items():
            entries[RelPath(f"{at}/{path}")] = entry
    return Tree.of(entries)


def parsed_digest(message: Any) -> Digest:
    """Return the digest of a ``Digest`` message; raise :class:`IntegrityError` unless it is sha256 in hexadecimal."""
    return parse_digest(f"sha256:{message.hash}")


def parsed_length(message: Any) -> int:
    """Return the length of a ``Digest`` message; raise :class:`IntegrityError` for a negative one."""
    size = int(message.size_bytes)
    if size < 0:
        msg = f"a length of {size} bytes"
        raise IntegrityError(msg)
    return size


def _path(text: str) -> RelPath:
    try:
        return parse_relpath(text)
    except ArchiveError as error:
        raise IntegrityError(str(error)) from None


def _utf8(raw: bytes, where: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        msg = f'"{where}/{os_text(raw)}" is no UTF-8, which the Remote Execution API demands of names'
        raise IntegrityError(msg) from None


def _put(message: Message, messages: dict[Digest, bytes]) -> Any:
    data = message.SerializeToString(deterministic=True)
    digest = digest_bytes(data)
    messages[digest] = data
    return _digest(digest, messages)


def _digest(digest: Digest, messages: Mapping[Digest, bytes]) -> Any:
    from kata_bundle.build.reapi import remote_execution_pb2 as api

    return api.Digest(hash=hex_part(digest), size_bytes=len(messages[digest]))
