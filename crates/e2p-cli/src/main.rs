//! The `e2p` binary.
fn main() {}
