//! Scores become figures: the metrics of the task, by user, with intervals over users.

pub(crate) mod assemble;
pub(crate) mod bootstrap;
pub(crate) mod figure;
pub(crate) mod measures;
pub(crate) mod provenance;
