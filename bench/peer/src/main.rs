//! Unpacks kata-static tarballs the way an installer written in Rust does it: one component after the other, a zstd decoder
//! feeding a tar archive, every member removed at its destination and then created, written in the pieces of 8 KiB that
//! `io::copy` uses. Only members below `opt/kata` are taken. It is the yardstick that the benchmarks compare with.
//!
//!     serial-unpack [--syncfs] [--wipe] DESTINATION TARBALL...
//!
//! `--syncfs` makes everything durable at the end; `--wipe` empties the destination first, as a full reinstall does.

use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::os::unix::io::AsRawFd;
use std::path::{Component, Path, PathBuf};
use std::process::exit;

const PREFIX: [&str; 2] = ["opt", "kata"];

fn relative(name: &Path) -> io::Result<Option<PathBuf>> {
    let mut parts = name.components().filter(|part| *part != Component::CurDir);
    for wanted in PREFIX {
        match parts.next() {
            Some(Component::Normal(part)) if part == wanted => {}
            _ => return Ok(None),
        }
    }
    let rest: PathBuf = parts.collect();
    if rest.components().any(|part| !matches!(part, Component::Normal(_))) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} leaves the tree", name.display())));
    }
    Ok(Some(rest))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => fs::remove_file(path),
    }
}

fn unpack(tarball: &Path, destination: &Path) -> Result<(), Box<dyn Error>> {
    let decoder = zstd::stream::read::Decoder::new(File::open(tarball)?)?;
    let mut archive = tar::Archive::new(decoder);
    archive.set_preserve_permissions(true);
    archive.set_preserve_mtime(true);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let below = match relative(&entry.path()?)? {
            None => continue,
            Some(below) => below,
        };
        let target = destination.join(&below);
        if entry.header().entry_type().is_dir() {
            fs::create_dir_all(&target)?;
            continue;
        }
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        remove(&target)?;
        if entry.header().entry_type().is_hard_link() {
            // Names in the archive are below the prefix; the link is made to where the first name was put.
            let first = entry.link_name()?.ok_or("hard link without a target")?;
            let first = relative(&first)?.ok_or("hard link to outside of the tree")?;
            fs::hard_link(destination.join(first), &target)?;
        } else {
            entry.unpack(&target)?;
        }
    }
    Ok(())
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut syncfs = false;
    let mut wipe = false;
    let mut paths = Vec::new();
    for argument in env::args_os().skip(1) {
        match argument.to_str() {
            Some("--syncfs") => syncfs = true,
            Some("--wipe") => wipe = true,
            _ => paths.push(PathBuf::from(argument)),
        }
    }
    let (destination, tarballs) = paths.split_first().ok_or("usage: serial-unpack [--syncfs] [--wipe] DESTINATION TARBALL...")?;
    if wipe && destination.exists() {
        fs::remove_dir_all(destination)?;
    }
    fs::create_dir_all(destination)?;
    for tarball in tarballs {
        unpack(tarball, destination)?;
    }
    if syncfs {
        let directory = File::open(destination)?;
        // SAFETY: the descriptor is open for as long as `directory` lives.
        if unsafe { libc::syncfs(directory.as_raw_fd()) } != 0 {
            return Err(io::Error::last_os_error().into());
        }
    }
    Ok(())
}

fn main() {
    if let Err(error) = run() {
        eprintln!("serial-unpack: {error}");
        exit(1);
    }
}
