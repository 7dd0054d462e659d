//! The one place where panics of the Parquet reader end.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::fault::{COMPLETE, Outcome, TableFault};

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread would become an error of this crate.
///
/// For panic hooks: what this says `true` to needs no message of its own.
pub fn is_catching_panics() -> bool {
    CATCHING.get()
}

/// Calls the reader; a panic is an error that says so.
///
/// What `read` borrows is not used after an error.
pub(super) fn catch<T>(read: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    CATCHING.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(read));
    CATCHING.set(false);
    outcome.unwrap_or_else(|_| {
        let found = "damaged data that its reader cannot follow";
        Err(TableFault::new(found, COMPLETE))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_reader_is_an_error() {
        let outcome: Outcome<()> = catch(|| {
            assert!(is_catching_panics());
            panic!("this message is part of the test")
        });
        assert!(outcome.unwrap_err().found.contains("damaged data"));
        assert!(!is_catching_panics());
    }
}
