//! `start`: lets a created container go on to its program.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::container::{Container, Status, Store};
use crate::error::{Error, Result, invalid};

/// Answers once the program runs, or why it does not.
pub fn start(store: &Store, id: &str) -> Result<()> {
    let container = store.open(id)?;
    begin(&container)?;
    container.unlock();
    Ok(())
}

fn begin(container: &Container) -> Result<()> {
    let status = container.record()?.map(|record| container.status(&record));
    let status = status.unwrap_or(Status::Stopped);
    if status != Status::Created {
        return Err(container.is(status));
    }
    let path = container.start_socket();
    let init = UnixStream::connect(&path).map_err(Error::system("reach", "the container's first process"))?;
    // Gone before the program begins, so that nobody ever sees a created container whose program runs.
    fs::remove_file(&path).map_err(Error::system("remove", "the start socket"))?;
    go(init)
}

/// Tells a first process that waits to become its program, and hears whether it has.
pub(crate) fn go(mut init: UnixStream) -> Result<()> {
    let mut said = Vec::new();
    init.write_all(b"s")
        .and_then(|()| init.read_to_end(&mut said))
        .map_err(Error::system("start", "the container's first process"))?;
    match said.as_slice() {
        [] => Ok(()),
        reason => Err(invalid(String::from_utf8_lossy(reason))),
    }
}
