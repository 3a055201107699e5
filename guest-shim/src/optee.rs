//! Clients of OP-TEE (`optee_msg.h` and `optee_smc.h`, OP-TEE 4.5.0): a small one, and one that
//! calls in every way ([`client`]).

pub mod words;

#[cfg(target_os = "none")]
pub mod answer;
#[cfg(target_os = "none")]
pub mod arena;
#[cfg(target_os = "none")]
pub mod client;
#[cfg(target_os = "none")]
mod page;
#[cfg(target_os = "none")]
mod simple_client;
#[cfg(target_os = "none")]
pub mod supplicant;

#[cfg(target_os = "none")]
pub use page::{PAGE, Page};
#[cfg(target_os = "none")]
pub use simple_client::{
    DEVICE_LIST, TESTS, close_session, converse, open_session, opening, register, unregister,
};
