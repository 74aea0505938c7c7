"""Results of actions as messages of the Remote Execution API, and back, checked. Pure; must not know: calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kata_bundle.build.action import encode_tree
from kata_bundle.build.action.encode import parsed_digest, parsed_length
from kata_bundle.core.digest import Digest, digest_bytes, hex_part
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.relpath import RelPath, os_bytes, quoted
from kata_bundle.core.tree import Directory, File, Symlink, Tree, below

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.build.action import Action

__all__ = ["EncodedResult", "check_outputs", "encode_result", "files_of", "tree_documents"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedResult:
    """What a server is told of a result, and the blobs that it has to have before."""

    message: Any
    documents: Mapping[Digest, bytes]
    files: Mapping[Digest, int]


def encode_result(action: Action, outputs: Tree, log: tuple[Digest, int]) -> EncodedResult:
    """Return the ``ActionResult`` of ``outputs``; ``log`` is digest and length in bytes of what the command printed.

    Raises :class:`IntegrityError` for names that the API does not allow.
    """
    from kata_bundle.build.reapi import remote_execution_pb2 as api

    message = api.ActionResult(exit_code=0)
    documents: dict[Digest, bytes] = {}
    files: dict[Digest, int] = {}
    for path in sorted(action.outputs, key=os_bytes):
        match outputs.entries.get(path):
            case File(mode=mode, size_bytes=size, digest=digest):
                message.output_files.add(
                    path=path, digest=api.Digest(hash=hex_part(digest), size_bytes=size), is_executable=bool(mode & 0o100)
                )
                files[digest] = size
            case Symlink(target=target):
                message.output_symlinks.add(path=path, target=target)
            case Directory():
                members: dict[Digest, bytes] = {}
                root, inside = encode_tree(below(outputs, path), members)
                files |= inside
                tree = api.Tree(root=api.Directory.FromString(members[root]))
                children = sorted(members.items())
                tree.children.extend(api.Directory.FromString(data) for key, data in children if key != root)
                data = tree.SerializeToString(deterministic=True)
                # The directories too: buildbox-casd takes a result without them for incomplete.
                documents |= {**members, digest_bytes(data): data}
                message.output_directories.add(
                    path=path, tree_digest=api.Digest(hash=hex_part(digest_bytes(data)), size_bytes=len(data))
                )
            case _:
                msg = f'{action.name}: output "{path}" is not in its result'
                raise IntegrityError(msg)
    if log[1]:
        message.stdout_digest.CopyFrom(api.Digest(hash=hex_part(log[0]), size_bytes=log[1]))
        files[log[0]] = log[1]
    return EncodedResult(message=message, documents=documents, files=files)


def tree_documents(result: Any) -> dict[Digest, int]:
    """Return digest and length of every ``Tree`` message that an ``ActionResult`` refers to."""
    return {parsed_digest(folder.tree_digest): parsed_length(folder.tree_digest) for folder in result.output_directories}


def files_of(tree: Tree) -> dict[Digest, int]:
    """Return digest and length of every file of ``tree``; raise :class:`IntegrityError` when one digest has two lengths."""
    files: dict[Digest, int] = {}
    for entry in tree.entries.values():
        if isinstance(entry, File) and files.setdefault(entry.digest, entry.size_bytes) != entry.size_bytes:
            msg = f"{entry.digest} is said to have {entry.size_bytes} and {files[entry.digest]} bytes"
            raise IntegrityError(msg)
    return files


def check_outputs(action: Action, outputs: Tree, *, where: str, limit_bytes: int) -> None:
    """Raise :class:`IntegrityError` unless ``outputs`` are what ``action`` declares: all of them, nothing else, not too large."""
    declared = set(action.outputs)
    missing = sorted(declared - set(outputs.entries))
    leading = {RelPath(path[:at]) for path in declared for at in range(len(path)) if path[at] == "/"}
    strays = sorted(
        path
        for path in outputs.entries
        if path not in declared and path not in leading and not any(path.startswith(f"{top}/") for top in declared)
    )
    problems = []
    if missing:
        problems.append(f"lacks {', '.join(quoted(path) for path in missing[:20])}")
    if strays:
        problems.append(f"has {', '.join(quoted(path) for path in strays[:20])}, which the action does not declare")
    if (size := sum(entry.size_bytes for entry in outputs.entries.values() if isinstance(entry, File))) > limit_bytes:
        problems.append(f"has {size} bytes, {limit_bytes} are allowed")
    if problems:
        msg = f"{action.name}: the result from {where} {' and '.join(problems)}"
        raise IntegrityError(msg)
