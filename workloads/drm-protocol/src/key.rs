//! How a content key comes to the trusted application.
//!
//! The application has a key pair of X25519 (RFC 7748), made at random and kept in secure storage.
//! Who issues a content key makes a pair for that one key, and both sides derive the same wrapping
//! key from their own secret and the other's public key:
//!
//! ```text
//! Z            = X25519(own secret, other's public key)
//! wrapping key = SHA-256(00 00 00 01 ‖ Z ‖ WRAPPING_LABEL ‖ issuer's public key ‖ application's public key)
//! ```
//!
//! which is the one-step key derivation of NIST SP 800-56C revision 2, section 4.1. The content key
//! is encrypted with AES-256-GCM under the wrapping key; the key's ID is authenticated with it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a key ID (ISO/IEC 23001-7:2016, section 11.2).
pub const KEY_ID_SIZE: usize = 16;
/// The name of a content key.
pub type KeyId = [u8; KEY_ID_SIZE];
/// Bytes of a content key, for AES-128.
pub const CONTENT_KEY_SIZE: usize = 16;
/// Bytes of a public key.
pub const PUBLIC_KEY_SIZE: usize = 32;
/// Bytes of the nonce that a content key is encrypted with.
pub const WRAPPING_NONCE_SIZE: usize = 12;
/// Bytes of the tag that authenticates a wrapped key.
pub const TAG_SIZE: usize = 16;
/// Goes into the derivation, so that no other use of the same key pair gives the same wrapping
/// keys.
pub const WRAPPING_LABEL: &[u8] = b"bulkhead drm content key 1";

/// A content key on its way.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct WrappedKey {
    /// Which key it is.
    pub key_id: KeyId,
    /// The issuer's public key.
    pub public_key: [u8; PUBLIC_KEY_SIZE],
    /// For AES-GCM.
    pub nonce: [u8; WRAPPING_NONCE_SIZE],
    /// The encrypted content key.
    pub content_key: [u8; CONTENT_KEY_SIZE],
    /// Of AES-GCM.
    pub tag: [u8; TAG_SIZE],
}

const _: () = assert!(size_of::<WrappedKey>() == 92);
