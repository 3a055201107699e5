//! OP-TEE's SMC and message ABI: numbers, layouts and parsing.
//!
//! Everything here comes from three headers of OP-TEE OS 4.5.0:
//! `core/arch/arm/include/sm/optee_smc.h` ([`smc`], [`capabilities`]), `core/include/optee_msg.h`
//! ([`message`], [`pagelist`]) and `core/include/optee_rpc_cmd.h` ([`rpc`]). What later versions
//! added is marked with the version. Layouts are little endian; a message is copied to and from
//! bytes wherever it lies, and parsing never panics.

#![no_std]
#![forbid(unsafe_code)]

pub mod capabilities;
pub mod message;
pub mod pagelist;
pub mod result;
pub mod rpc;
pub mod smc;
