"""Merges fragments of a kernel configuration, and checks that all they ask for took effect.

::

    kconfig.py merge FILE FOLDER...    writes what the fragments of the folders (*.conf) ask for
    kconfig.py check FILE CONFIG       fails when the configuration CONFIG has anything otherwise than FILE asks

The kernel's own tools drop an option whose dependencies are not met, and say nothing. A guest without it boots all the same and fails
much later. Runs where a kernel is built: the standard library's smallest part is all that is there.
"""

import os
import re
import sys

_SET = re.compile(r"(CONFIG_[A-Za-z0-9_]+)=(.+)")
_UNSET = re.compile(r"# (CONFIG_[A-Za-z0-9_]+) is not set")


def read(path):
    """Return the options of a file, ``n`` for those that are to be off; comments and empty lines are passed over."""
    options = {}
    with open(path, encoding="utf-8") as lines:
        for number, text in enumerate(lines, 1):
            line = text.strip()
            found, unset = _SET.fullmatch(line), _UNSET.fullmatch(line)
            if found or unset:
                name, value = (found[1], found[2]) if found else (unset[1], "n")
                if name in options:
                    sys.exit(f"{path}:{number}: {name} is there twice")
                options[name] = value
            elif line and not line.startswith("# ") and line != "#":
                sys.exit(f'{path}:{number}: neither an option nor a comment: "{line}"')
    return options


def merge(folders):
    """Return what the fragments of ``folders`` ask for, option by option in the order of their names."""
    options, origin = {}, {}
    for folder in folders:
        for name in sorted(one for one in os.listdir(folder) if one.endswith(".conf")):
            path = os.path.join(folder, name)
            for option, value in read(path).items():
                if options.setdefault(option, value) != value:
                    sys.exit(f"{option} is {options[option]} in {origin[option]} and {value} in {path}")
                origin.setdefault(option, path)
    if not options:
        sys.exit(f"no fragment asks for anything in {' '.join(folders)}")
    return dict(sorted(options.items()))


def differences(wanted, got):
    """Return a line for each option that ``got`` has otherwise than ``wanted`` asks."""
    return [f"{name}: asked for {value}, is {got.get(name, 'n')}" for name, value in wanted.items() if got.get(name, "n") != value]


def main(words):
    """Carry out one command line."""
    if len(words) >= 3 and words[0] == "merge":
        lines = [f"# {name} is not set" if value == "n" else f"{name}={value}" for name, value in merge(words[2:]).items()]
        with open(words[1], "w", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))
    elif len(words) == 3 and words[0] == "check":
        wanted = read(words[1])
        wrong = differences(wanted, read(words[2]))
        if wrong:
            sys.exit("the kernel's configuration is not what was asked for:\n  " + "\n  ".join(wrong))
        sys.stdout.write(f"all {len(wanted)} options that were asked for took effect\n")
    else:
        sys.exit("usage: kconfig.py merge FILE FOLDER... | kconfig.py check FILE CONFIG")


if __name__ == "__main__":
    main(sys.argv[1:])
