//! A small disk that can be filled: a tmpfs of its own.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::statvfs::statvfs;

use super::watchdog::Folder;

/// A file system of a few mebibytes; unmounted when dropped, at the latest when this process ends.
pub struct SmallDisk {
    folder: Folder,
}

impl SmallDisk {
    /// Mounts one of so many mebibytes, which takes the rights to mount.
    pub fn new(mebibytes: u32) -> SmallDisk {
        let folder = Folder::new("disk");
        let size = format!("size={mebibytes}m,mode=700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path());
        let output = mount.output().expect("the program mount");
        assert!(
            output.status.success(),
            "this test fills a disk of its own, and has no rights to mount one: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        SmallDisk { folder }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves no room on it.
    pub fn fill(&self) {
        let mut file = File::create(self.filler()).expect("a file that takes all room");
        let piece = [0x5a; 4096];
        loop {
            match file.write_all(&piece) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("the disk is not full, but broken: {error}"),
            }
        }
    }

    /// Leaves so many bytes on it, or less, but not none.
    pub fn fill_up_to(&self, bytes: u64) {
        let mut file = File::create(self.filler()).expect("a file that takes most of the room");
        while self.free() > bytes {
            file.write_all(&[0x5a; 4096]).expect("room");
        }
        assert!(self.free() > 0, "no room is left");
    }

    /// The bytes that are left on it.
    pub fn free(&self) -> u64 {
        let space = statvfs(self.path()).expect("the disk is mounted");
        space.blocks_available() as u64 * space.fragment_size() as u64
    }

    /// Makes room on it again.
    pub fn empty(&self) {
        fs::remove_file(self.filler()).expect("a disk that was filled");
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} cannot be unmounted", self.path().display());
        }
    }
}
