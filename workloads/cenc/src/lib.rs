//! Decryption of samples protected by Common Encryption (ISO/IEC 23001-7:2016), apart from any
//! cipher and any memory.
//!
//! A *sample* is a video frame or a piece of audio. A table of [`Subsample`]s says which of its
//! bytes are protected: some clear bytes (headers that a demultiplexer reads), then some protected
//! ones, and so on. [`Sample`] checks such a table once and then drives an [`Engine`], which has
//! the key and the memory, in as few steps as the scheme allows. What is in the sample decides
//! nothing.
//!
//! Two of the standard's schemes are known, those that players meet:
//!
//! - `cenc` (section 10.1): AES-128-CTR. All protected bytes of a sample are one stream.
//! - `cbcs` (section 10.4): AES-128-CBC over a pattern of blocks. Each subsample is a chain of its
//!   own.

#![no_std]
#![forbid(unsafe_code)]

mod engine;
mod sample;

pub use engine::Engine;
pub use sample::{Flaw, Pattern, Sample, Scheme, Subsample};

/// Bytes of a block of AES.
pub const BLOCK: usize = 16;

/// A block of AES: a counter block or an initialization vector.
pub type Block = [u8; BLOCK];
