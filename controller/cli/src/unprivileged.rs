//! What an unprivileged user's commands do first of all: they enter the user namespace in which this user is root.

use portolan_oci::error::Error;
use portolan_oci::userns::{self, Foreseen};

use crate::args::Command;
use crate::failure::Failure;
use crate::folders::Folders;

/// Whether the command could enter, and with how many ids; `None` if it need not.
pub type Entered = Result<Option<Foreseen>, Error>;

/// To be called before there is a second thread. A command that fails to enter may still be one for a cloud: whoever
/// starts containers on this machine asks
/// [`refuse_unless_entered`].
pub fn enter(command: &Command) -> Result<Entered, Failure> {
    if !userns::is_needed() || !uses_this_machine(command) {
        return Ok(Ok(None));
    }
    let record = Folders::of_this_user()?.user_namespace();
    let foreseen = userns::foreseen();
    Ok(userns::enter(&record).map(|ids| Some(Foreseen { ids, ..foreseen })))
}

/// Those that only read manifests, or print what is built in, need nothing of it.
fn uses_this_machine(command: &Command) -> bool {
    #[cfg(feature = "kubernetes")]
    if matches!(command, Command::Controller(arguments) if arguments.kubernetes) {
        return false;
    }
    use Command::{Check, Completion, Crd, Explain, Init, Man, Schema, Validate};
    !matches!(
        command,
        Init(_) | Validate(_) | Check(_) | Explain(_) | Schema | Crd | Completion(_) | Man(_)
    )
}

/// For what cannot go on without.
pub fn refuse_unless_entered() -> Result<(), Failure> {
    match userns::is_needed() {
        false => Ok(()),
        true => Err(
            Failure::new("NamespaceDenied", "containers cannot be started by this user")
                .because("this machine does not let the user into a user namespace")
                .hint("`portolan doctor` says why; root needs none: `sudo portolan ...`"),
        ),
    }
}
