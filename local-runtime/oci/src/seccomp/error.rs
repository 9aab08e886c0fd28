//! What can be wrong with a seccomp profile. Loading a compiled program can fail with an errno only.

/// A profile that cannot be made into a filter.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("system call `{call}` compares argument {index}, and calls have arguments 0 to 5")]
    ArgumentIndex { call: String, index: usize },
    #[error("errno {errno} of `{subject}` is not between 0 and 4095")]
    Errno { subject: String, errno: u32 },
    #[error("`{subject}` cannot have action SCMP_ACT_NOTIFY: {reason}")]
    Notify {
        subject: &'static str,
        reason: &'static str,
    },
    #[error("the filter has {len} instructions, and the kernel takes at most 4096")]
    TooLong { len: usize },
}
