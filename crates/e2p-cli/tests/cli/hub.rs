//! `--backbone org/name` against a server that speaks the hub's protocol.
