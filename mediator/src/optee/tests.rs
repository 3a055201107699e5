//! The mediator between a made-up guest and a made-up OP-TEE that checks what it is given.

mod access;
mod another_kernel;
mod attack;
mod buffers;
mod creation;
mod fast_calls;
mod kept_alive;
mod life;
mod messages;
mod notifications;
mod parameters;
mod pseudo_tas;
mod random;
mod renewal;
mod rpc_arguments;
mod rpc_commands;
mod rpc_memory;
mod stages;
mod taking_back;
mod teardown;
mod threads;
