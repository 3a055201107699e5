//! Memory that OP-TEE shares with a guest, and with the mediator for messages.

pub(super) mod buffers;
pub(super) mod handle;
pub(super) mod location;
pub(super) mod message_area;
pub(super) mod page_list;
pub(super) mod page_pool;
mod references;
