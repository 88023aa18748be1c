//! Agents, hook tools and faults on real light machines, by the command line. Needs root.
//!
//! The charm `recorder` writes down every hook; what else a hook does is a script that the test puts on the machine.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod faults;
mod order;
mod support;
mod tools;
