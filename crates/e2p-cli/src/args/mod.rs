//! The command line. These doc comments are the reference: `--help`, man pages and completions
//! are made from them.

mod cli;
mod global;
mod shared;

pub(crate) use cli::{Cli, Command};
pub(crate) use global::{Dtype, GlobalArgs, Precision};
pub(crate) use shared::{BackboneArgs, PersonalArgs, PromptArgs};
