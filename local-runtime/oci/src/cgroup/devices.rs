//! Which devices a container may use: OCI's ordered rules, made into a list of exceptions.
//!
//! Everything is denied first; then the configuration's rules apply in order, and after them the devices that every
//! container has. Version 1 takes the result line by line, version 2 as a BPF program (`bpf.rs`).

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use super::error::Error;
use super::limits::invalid;

/// Block or character devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Block,
    Char,
}

/// What may be done with a device, one bit each as in linux/bpf.h (`BPF_DEVCG_ACC_*`).
pub(super) const MKNOD: u8 = 1;
pub(super) const READ: u8 = 2;
pub(super) const WRITE: u8 = 4;
pub(super) const ALL: u8 = MKNOD | READ | WRITE;

/// Devices that the default treats otherwise. No number stands for all numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exception {
    pub kind: Kind,
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub access: u8,
}

/// A default, and what is different from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Devices {
    pub allowed: bool,
    pub exceptions: Vec<Exception>,
}

impl Devices {
    /// The list for a container with these rules.
    pub(super) fn of(rules: &[LinuxDeviceCgroup]) -> Result<Devices, Error> {
        let mut devices = Devices {
            allowed: false,
            exceptions: Vec::new(),
        };
        for rule in rules {
            devices.apply(rule)?;
        }
        for exception in EVERY_CONTAINER {
            devices.allow(exception);
        }
        Ok(devices)
    }

    fn apply(&mut self, rule: &LinuxDeviceCgroup) -> Result<(), Error> {
        let access = access(rule.access().as_deref())?;
        let (major, minor) = (
            number("devices.major", rule.major())?,
            number("devices.minor", rule.minor())?,
        );
        let kinds: &[Kind] = match rule.typ().unwrap_or(LinuxDeviceType::A) {
            LinuxDeviceType::A if access == ALL && major.is_none() && minor.is_none() => {
                *self = Devices {
                    allowed: rule.allow(),
                    exceptions: Vec::new(),
                };
                return Ok(());
            }
            LinuxDeviceType::A => &[Kind::Block, Kind::Char],
            LinuxDeviceType::B => &[Kind::Block],
            LinuxDeviceType::C | LinuxDeviceType::U => &[Kind::Char],
            LinuxDeviceType::P => return Err(invalid("devices.type", "p", "pipes are no devices")),
        };
        for kind in kinds {
            let exception = Exception {
                kind: *kind,
                major,
                minor,
                access,
            };
            if rule.allow() {
                self.allow(exception)
            } else {
                self.deny(exception)?
            }
        }
        Ok(())
    }

    fn allow(&mut self, exception: Exception) {
        if self.allowed {
            self.remove(exception)
        } else {
            self.add(exception)
        }
    }

    /// Takes `exception` out of what is allowed. The kernel's lists cannot hold a hole in a wider permission.
    fn deny(&mut self, exception: Exception) -> Result<(), Error> {
        if self.allowed {
            self.add(exception);
            return Ok(());
        }
        let holed = |wide: &Exception| {
            wide.covers(exception) && !exception.covers(*wide) && wide.access & exception.access != 0
        };
        if self.exceptions.iter().any(holed) {
            return Err(invalid(
                "devices",
                exception,
                "an earlier rule allows more devices than this one denies",
            ));
        }
        self.remove(exception);
        Ok(())
    }

    fn add(&mut self, exception: Exception) {
        let same = |known: &&mut Exception| known.covers(exception) && exception.covers(**known);
        match self.exceptions.iter_mut().find(same) {
            Some(known) => known.access |= exception.access,
            None => self.exceptions.push(exception),
        }
    }

    fn remove(&mut self, exception: Exception) {
        for known in self.exceptions.iter_mut().filter(|known| exception.covers(**known)) {
            known.access &= !exception.access;
        }
        self.exceptions.retain(|known| known.access != 0);
    }

    /// The writes that bring a new cgroup of version 1 to this list: files and lines, in order.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let (default, other) = if self.allowed {
            ("devices.allow", "devices.deny")
        } else {
            ("devices.deny", "devices.allow")
        };
        let exceptions = self.exceptions.iter().map(|exception| (other, exception.to_string()));
        std::iter::once((default, "a".to_owned())).chain(exceptions).collect()
    }
}

impl Exception {
    /// Whether this is about every device that `other` is about.
    fn covers(&self, other: Exception) -> bool {
        let covers = |wide: Option<u32>, narrow: Option<u32>| wide.is_none() || wide == narrow;
        self.kind == other.kind && covers(self.major, other.major) && covers(self.minor, other.minor)
    }
}

/// A line as the kernel of version 1 takes it: `c 1:3 rwm`.
impl std::fmt::Display for Exception {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
        let kind = if self.kind == Kind::Block { 'b' } else { 'c' };
        write!(f, "{kind} {}:{} ", number(self.major), number(self.minor))?;
        let letters = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];
        letters
            .iter()
            .filter(|(bit, _)| self.access & bit != 0)
            .try_for_each(|(_, letter)| write!(f, "{letter}"))
    }
}

/// Nodes may be made, though not used: image tools need that. The rest are the devices of OCI's default list.
const EVERY_CONTAINER: [Exception; 10] = [
    Exception {
        kind: Kind::Char,
        major: None,
        minor: None,
        access: MKNOD,
    },
    Exception {
        kind: Kind::Block,
        major: None,
        minor: None,
        access: MKNOD,
    },
    char_device(1, Some(3)), // null
    char_device(1, Some(5)), // zero
    char_device(1, Some(7)), // full
    char_device(1, Some(8)), // random
    char_device(1, Some(9)), // urandom
    char_device(5, Some(0)), // tty
    char_device(5, Some(2)), // ptmx
    char_device(136, None),  // pts/*
];

const fn char_device(major: u32, minor: Option<u32>) -> Exception {
    Exception {
        kind: Kind::Char,
        major: Some(major),
        minor,
        access: ALL,
    }
}

fn access(text: Option<&str>) -> Result<u8, Error> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(ALL);
    };
    text.chars().try_fold(0, |access, letter| match letter {
        'r' => Ok(access | READ),
        'w' => Ok(access | WRITE),
        'm' => Ok(access | MKNOD),
        _ => Err(invalid("devices.access", text, "it is made of the letters r, w and m")),
    })
}

/// OCI's numbers; -1 stands for all, as does none.
fn number(field: &'static str, number: Option<i64>) -> Result<Option<u32>, Error> {
    match number {
        None | Some(-1) => Ok(None),
        Some(number) => match u32::try_from(number) {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(invalid(field, number, "it is no device number")),
        },
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::LinuxDeviceCgroupBuilder;

    use super::*;

    fn rule(allow: bool, typ: LinuxDeviceType, major: i64, minor: i64, access: &str) -> LinuxDeviceCgroup {
        let rule = LinuxDeviceCgroupBuilder::default().allow(allow).typ(typ).access(access);
        rule.major(major).minor(minor).build().unwrap()
    }

    #[test]
    fn rules_apply_in_order() {
        use LinuxDeviceType::{A, B, C};
        let deny_all = rule(false, A, -1, -1, "rwm");
        let allow_all = rule(true, A, -1, -1, "rwm");
        let cases: [(_, Result<&[&str], ()>, _); 6] = [
            (vec![deny_all.clone()], Ok(&[]), "nothing but what every container has"),
            (vec![rule(true, B, 8, 0, "r")], Ok(&["b 8:0 r"]), "one disk to read"),
            (
                vec![rule(true, B, 8, 0, "r"), rule(true, B, 8, 0, "w")],
                Ok(&["b 8:0 rw"]),
                "permissions add up",
            ),
            (
                vec![rule(true, B, 8, 0, "rw"), rule(false, B, 8, -1, "w")],
                Ok(&["b 8:0 r"]),
                "a wider rule takes away",
            ),
            (
                vec![rule(true, B, 8, -1, "rw"), rule(false, B, 8, 0, "w")],
                Err(()),
                "a hole cannot be told to the kernel",
            ),
            (
                vec![allow_all, deny_all, rule(true, C, 10, 200, "rwm")],
                Ok(&["c 10:200 rwm"]),
                "the last word on all counts",
            ),
        ];
        for (rules, expected, reason) in cases {
            let own = Devices::of(&rules).map_err(|_| ()).map(|devices| {
                assert!(!devices.allowed, "{reason}");
                let defaults = EVERY_CONTAINER.map(|exception| exception.to_string());
                let lines = devices.exceptions.iter().map(Exception::to_string);
                lines.filter(|line| !defaults.contains(line)).collect::<Vec<_>>()
            });
            assert_eq!(
                own,
                expected.map(|lines| lines.iter().map(|line| line.to_string()).collect()),
                "{reason}"
            );
        }
    }

    #[test]
    fn all_devices_may_be_allowed() {
        let devices = Devices::of(&[rule(true, LinuxDeviceType::A, -1, -1, "rwm")]).unwrap();
        assert_eq!(devices.lines(), [("devices.allow", "a".to_owned())]);
    }
}
