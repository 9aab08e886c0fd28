//! What kinds of objects platforms have, and how each behaves where the platform's table says nothing else.

/// One kind of object. Times are in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub name: &'static str,
    /// Whether a name can be taken once only. Where not, a second create makes a second object, unless it bears the
    /// token of the first.
    pub names_are_unique: bool,
    /// A create or update answers a handle, and has ended after this time.
    pub operation_ms: Option<u64>,
    /// From the change to `Ready` or, for what runs to its end, to `Completed`.
    pub ready_after_ms: u64,
    /// How long a deleted object is still there and keeps its name.
    pub deleting_ms: u64,
    pub runs_to_end: bool,
    pub holds_data: bool,
}

pub const NETWORK: Kind = Kind {
    name: "Network",
    names_are_unique: true,
    operation_ms: None,
    ready_after_ms: 0,
    deleting_ms: 0,
    runs_to_end: false,
    holds_data: false,
};

pub const VOLUME: Kind = Kind {
    name: "Volume",
    names_are_unique: true,
    operation_ms: Some(300),
    ready_after_ms: 300,
    deleting_ms: 100,
    runs_to_end: false,
    holds_data: true,
};

pub const JOB: Kind = Kind {
    name: "Job",
    names_are_unique: false,
    operation_ms: None,
    ready_after_ms: 400,
    deleting_ms: 0,
    runs_to_end: true,
    holds_data: false,
};

pub const SERVICE: Kind = Kind {
    name: "Service",
    names_are_unique: false,
    operation_ms: None,
    ready_after_ms: 500,
    deleting_ms: 200,
    runs_to_end: false,
    holds_data: false,
};

/// What brings traffic to a service, on platforms where that is an object of its own.
pub const BALANCER: Kind = Kind {
    name: "Balancer",
    names_are_unique: true,
    operation_ms: None,
    ready_after_ms: 0,
    deleting_ms: 0,
    runs_to_end: false,
    holds_data: false,
};

pub const KINDS: [Kind; 5] = [NETWORK, VOLUME, JOB, SERVICE, BALANCER];
