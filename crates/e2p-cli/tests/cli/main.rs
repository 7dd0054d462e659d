//! The command as a person meets it: output, messages and exit codes.
#![allow(clippy::unwrap_used)]

mod data;
mod encoders;
mod errors;
mod generate;
mod help;
#[cfg(feature = "hub")]
mod hub;
mod method;
mod mistakes;
#[cfg(unix)]
mod readme;
mod score;
mod support;
mod terminal;
