//! Progress as events: named units of work that start, advance by bytes and end. The library never prints; a command
//! line draws bars from these calls, a log writes lines, a test counts them.

/// Receives what happens to each unit of work. Calls come from several threads at once and must be cheap.
pub trait Progress: Send + Sync {
    /// Work on `unit` (for example `layer 3f1c…`) begins; `total` is its size in bytes where that is known.
    fn started(&self, unit: &str, total: Option<u64>);
    /// `bytes` more of `unit` are done.
    fn advanced(&self, unit: &str, bytes: u64);
    /// Nothing more will be told of `unit`. Not called for a unit that failed: the error says it.
    fn finished(&self, unit: &str);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn started(&self, _unit: &str, _total: Option<u64>) {}
    fn advanced(&self, _unit: &str, _bytes: u64) {}
    fn finished(&self, _unit: &str) {}
}
