//! What users tell a controller about an app, through the journal that both of them read.

use serde::{Deserialize, Serialize};

use crate::machine::Timestamp;

/// All that holds for one app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Orders {
    /// Left alone until it is resumed.
    pub suspended: bool,
    /// When somebody last wanted it reconciled at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconcile: Option<Timestamp>,
    /// Digest of the plan that somebody said yes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promoted: Option<Promoted>,
}

/// A pause that somebody has ended, by [`portolan_core::status::Status::pause`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Promoted {
    pub pause: String,
    /// With no further one.
    pub full: bool,
}

/// One thing that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    Suspend,
    Resume,
    /// Now, with images looked up and built anew.
    Reconcile(Timestamp),
    Approve {
        plan: String,
    },
    Promote(Promoted),
}

impl Orders {
    pub fn take(&mut self, order: Order) {
        match order {
            Order::Suspend => self.suspended = true,
            Order::Resume => self.suspended = false,
            Order::Reconcile(at) => self.reconcile = Some(at),
            Order::Approve { plan } => self.approved = Some(plan),
            Order::Promote(promoted) => self.promoted = Some(promoted),
        }
    }
}
