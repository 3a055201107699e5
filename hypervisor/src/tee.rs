//! Gives VMs their TEE: mediators, and the ports through which they reach the machine.

pub mod mediators;
#[cfg(feature = "optee")]
mod optee;
mod ports;
pub mod request;
