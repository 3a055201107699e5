//! What a physical CPU does: whose turn it is, and the loop that runs vCPUs.

pub mod cpu;
pub mod scheduler;
