//! News: what both news data sets share.

mod catalog;
pub mod mind;
pub mod pens;
mod words;
