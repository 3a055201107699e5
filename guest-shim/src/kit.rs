//! What payloads are made of: cases, and random numbers.

pub mod cases;
pub mod random;
