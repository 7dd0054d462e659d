//! How a long preparation tells its caller where it stands; this crate never prints.

use std::path::Path;

/// Receives progress. Every method does nothing by default, and `()` is the observer that ignores
/// everything.
pub trait Observer {
    /// An input is about to be read.
    fn input(&mut self, _file: &Path) {}

    /// `done` of `total` bytes over all inputs have been read; called about once a mebibyte.
    fn progress(&mut self, _done: u64, _total: u64) {}

    /// Something other than reading begins, such as "write" or "factorize".
    fn stage(&mut self, _name: &str) {}
}

impl Observer for () {}
