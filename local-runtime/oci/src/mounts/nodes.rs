//! `linux.devices`: nodes for devices that the configuration names, beside those that every container has.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::Path;

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};
use rustix::fs::{self, AtFlags, FileType, Gid, Mode, Uid, makedev};
use rustix::io::Errno;

use crate::error::{Error, Result, invalid};
use crate::root::Root;

/// Makes one node. The folder it is in is found or made without following a link; the node itself is never a link that was
/// there before, as mknod(2) follows none.
pub fn make(root: &Root, device: &LinuxDevice) -> Result<()> {
    let path = device.path();
    let name = path
        .file_name()
        .ok_or_else(|| invalid(format!("the device {} has no name", path.display())))?;
    let folder = root.folder(path.parent().unwrap_or(Path::new("/")))?;
    let kind = kind(device)?;
    let number = makedev(number(device, device.major())?, number(device, device.minor())?);
    let mode = Mode::from_raw_mode(device.file_mode().unwrap_or(0o666) & 0o7777);
    match fs::mknodat(&folder, name, kind, mode, number) {
        Err(Errno::EXIST) => return check_found(&folder, name, device, (kind, number)),
        made => made.map_err(Error::system("make the device", path.display()))?,
    }
    let (uid, gid) = (device.uid().unwrap_or(0), device.gid().unwrap_or(0));
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    fs::chownat(&folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(Error::system("set the owner of", path.display()))
}

/// What is there already is left as it is, if it is that device.
fn check_found(folder: &OwnedFd, name: &OsStr, device: &LinuxDevice, wanted: (FileType, u64)) -> Result<()> {
    let path = device.path().display();
    let found = fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(Error::system("look at", &path))?;
    match (FileType::from_raw_mode(found.st_mode), found.st_rdev) == wanted {
        true => Ok(()),
        false => Err(invalid(format!("the device {path} is something else already"))),
    }
}

fn kind(device: &LinuxDevice) -> Result<FileType> {
    match device.typ() {
        LinuxDeviceType::B => Ok(FileType::BlockDevice),
        LinuxDeviceType::C | LinuxDeviceType::U => Ok(FileType::CharacterDevice),
        LinuxDeviceType::P => Ok(FileType::Fifo),
        LinuxDeviceType::A => Err(invalid(format!("the device {} has no type", device.path().display()))),
    }
}

fn number(device: &LinuxDevice, number: i64) -> Result<u32> {
    u32::try_from(number).map_err(|_| {
        invalid(format!(
            "{number} is no number of the device {}",
            device.path().display()
        ))
    })
}
