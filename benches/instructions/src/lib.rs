//! What is counted: each step on its own, its result checked.
//!
//! Each function takes what it needs ready-made and gives it back, so that neither making nor dropping it counts.

pub mod bodies;
pub mod parsing;
pub mod relabelling;
pub mod rendering;
pub mod storing;
