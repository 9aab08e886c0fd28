//! What every provider has to show: each check is one function, and its sentence says what holds.

mod capabilities;
mod errors;
mod etags;
mod journal;
mod operations;
mod ownership;
mod reads;
mod shape;
mod writes;

pub use capabilities::*;
pub use errors::*;
pub use etags::*;
pub use journal::*;
pub use operations::*;
pub use ownership::*;
pub use reads::*;
pub use shape::*;
pub use writes::*;

use crate::account::{Account, Cannot};

/// Says why something is not shown, once the suite has looked whether it could be.
fn excused<A: Account>(what: &str, reason: Cannot) {
    assert!(
        !reason.is_empty(),
        "{}: {what} is not shown, and no reason is given",
        A::NAME
    );
    println!("{}: {what} is not shown: {reason}", A::NAME);
}
