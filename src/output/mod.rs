//! How things are shown: to people on a page, to programs as JSON.
//!
//! Names of devices, commands and servers are others' words. Here, and nowhere
//! else, they become text that no terminal obeys.

pub mod json;
pub mod page;
