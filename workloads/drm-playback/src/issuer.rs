//! Issuing content keys: what a license server does. `drm_protocol::WrappedKey` says how.

use aes_gcm::aead::AeadInOut as _;
use aes_gcm::{Aes256Gcm, KeyInit as _};
use drm_protocol::{
    CONTENT_KEY_SIZE, KeyId, PUBLIC_KEY_SIZE, WRAPPING_LABEL, WRAPPING_NONCE_SIZE, WrappedKey,
};
use sha2::{Digest as _, Sha256};
use x25519_dalek::{PublicKey, StaticSecret};

/// What an issuer makes at random for one content key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chance {
    /// The secret half of a key pair.
    pub secret: [u8; PUBLIC_KEY_SIZE],
    /// For AES-GCM.
    pub nonce: [u8; WRAPPING_NONCE_SIZE],
}

/// Wraps a content key for the trusted application that has this public key. `None` if no application can have it.
#[must_use]
pub fn wrap(
    application: &[u8; PUBLIC_KEY_SIZE],
    key_id: KeyId,
    content_key: &[u8; CONTENT_KEY_SIZE],
    chance: &Chance,
) -> Option<WrappedKey> {
    let secret = StaticSecret::from(chance.secret);
    let public_key = PublicKey::from(&secret).to_bytes();
    let shared = secret.diffie_hellman(&PublicKey::from(*application));
    if !shared.was_contributory() {
        return None;
    }
    let wrapping_key: [u8; 32] = Sha256::new()
        .chain_update(1u32.to_be_bytes())
        .chain_update(shared.as_bytes())
        .chain_update(WRAPPING_LABEL)
        .chain_update(public_key)
        .chain_update(application)
        .finalize()
        .into();
    let mut wrapped = *content_key;
    let tag = Aes256Gcm::new(&wrapping_key.into())
        .encrypt_inout_detached(&chance.nonce.into(), &key_id, wrapped.as_mut_slice().into())
        .ok()?;
    Some(WrappedKey {
        key_id,
        public_key,
        nonce: chance.nonce,
        content_key: wrapped,
        tag: tag.into(),
    })
}
