//! A container's first process, from the clone to its program.
//!
//! It builds the container around itself, says through `report` that it is ready or why not, and waits: on `start` for
//! anyone, or on `report` for its maker. What fails after that is told to whoever started it. Both close by themselves on
//! exec, which is how success is told.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use crate::bundle::Bundle;
use crate::cgroup::{Cgroup, Entry};
use crate::error::{Error, Result, chain};
use crate::mounts;
use crate::namespaces::Namespaces;
use crate::process::Entrance;
use crate::sysctl;
use crate::terminal;
use crate::userns::Ids;

/// What the child says before it waits for its start. No reason for a failure begins so.
pub(crate) const READY: u8 = 0;

pub(crate) struct Init<'a> {
    pub bundle: &'a Bundle,
    pub entrance: &'a Entrance,
    pub namespaces: &'a Namespaces,
    pub cgroup: Option<(&'a Cgroup, &'a Entry)>,
    pub console: Option<&'a UnixStream>,
    /// `None` if its maker is to start it.
    pub start: Option<&'a UnixListener>,
    pub ids: Ids,
}

impl Init<'_> {
    /// Ends in the container's program, or in the end of this process.
    pub fn run(&self, mut report: UnixStream) -> ! {
        let program = match self.build() {
            Ok(program) => program,
            Err(error) => fail(report, &error),
        };
        // Nobody to listen means that the runtime was killed: nobody knows of this container.
        if report.write_all(&[READY]).is_err() {
            std::process::exit(127);
        }
        let starter = match self.start {
            Some(start) => {
                drop(report);
                accept(start)
            }
            None => report.read_exact(&mut [0]).ok().map(|()| report),
        };
        let Some(starter) = starter else {
            std::process::exit(127);
        };
        let Err(error) = self.entrance.exec(&program);
        fail(starter, &error)
    }

    fn build(&self) -> Result<PathBuf> {
        self.entrance.begin()?;
        if let Some((_, entry)) = self.cgroup {
            entry.enter().map_err(Error::system("enter", "the cgroup"))?;
        }
        self.namespaces.enter()?;
        self.take_names()?;
        sysctl::set(self.bundle.linux().sysctl().iter().flatten())?;
        let cgroup = self.cgroup.map(|(cgroup, _)| cgroup);
        mounts::enter(&self.bundle.spec, &self.bundle.rootfs(), cgroup, self.ids)?;
        self.open_terminal()?;
        if self.entrance.may_administrate() {
            mounts::lock()?;
        }
        self.entrance.settle()
    }

    fn take_names(&self) -> Result<()> {
        if let Some(name) = self.bundle.spec.hostname() {
            rustix::system::sethostname(name.as_bytes()).map_err(Error::system("set the host name", name))?;
        }
        if let Some(name) = self.bundle.spec.domainname() {
            rustix::system::setdomainname(name.as_bytes()).map_err(Error::system("set the domain name", name))?;
        }
        Ok(())
    }

    fn open_terminal(&self) -> Result<()> {
        let Some(console) = self.console else { return Ok(()) };
        let terminal: OwnedFd = terminal::open(console, &self.entrance.process)?;
        mounts::show_console(&terminal)?;
        terminal::take(&terminal)
    }
}

/// Somebody connects and says one byte, or only looks and goes.
fn accept(start: &UnixListener) -> Option<UnixStream> {
    loop {
        let (mut starter, _) = start.accept().ok()?;
        if starter.read_exact(&mut [0]).is_ok() {
            return Some(starter);
        }
    }
}

pub(crate) fn fail(mut to: UnixStream, error: &Error) -> ! {
    _ = to.write_all(chain(error).as_bytes());
    std::process::exit(127)
}
