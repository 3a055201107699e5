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

/// Wraps a content key for the trusted application that has this public key. `None` if no
/// application can have it.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Bob's secret key (RFC 7748, section 6.1).
    const SECRET: [u8; 32] = [
        0x5d, 0xab, 0x08, 0x7e, 0x62, 0x4a, 0x8a, 0x4b, 0x79, 0xe1, 0x7f, 0x8b, 0x83, 0x80, 0x0e,
        0xe6, 0x6f, 0x3b, 0xb1, 0x29, 0x26, 0x18, 0xb6, 0xfd, 0x1c, 0x2f, 0x8b, 0x27, 0xff, 0x88,
        0xe0, 0xeb,
    ];
    const KEY: [u8; 16] = *b"a content's key.";
    const ID: KeyId = *b"the key's own ID";

    fn chance() -> Chance {
        Chance {
            secret: [9; 32],
            nonce: [3; 12],
        }
    }

    /// What the application does, with the crates that are at hand here.
    fn unwrap(wrapped: &WrappedKey) -> Option<[u8; 16]> {
        let secret = StaticSecret::from(SECRET);
        let shared = secret.diffie_hellman(&PublicKey::from(wrapped.public_key));
        let derived = [
            &[0, 0, 0, 1][..],
            shared.as_bytes(),
            WRAPPING_LABEL,
            &wrapped.public_key,
            PublicKey::from(&secret).as_bytes(),
        ]
        .concat();
        let wrapping_key: [u8; 32] = Sha256::digest(derived).into();
        let mut key = wrapped.content_key;
        Aes256Gcm::new(&wrapping_key.into())
            .decrypt_inout_detached(
                &wrapped.nonce.into(),
                &wrapped.key_id,
                key.as_mut_slice().into(),
                &wrapped.tag.into(),
            )
            .ok()?;
        Some(key)
    }

    #[test]
    fn the_application_and_no_other_unwraps() {
        let application = PublicKey::from(&StaticSecret::from(SECRET)).to_bytes();
        let wrapped = wrap(&application, ID, &KEY, &chance()).unwrap();
        assert_ne!(wrapped.content_key, KEY);
        assert_eq!(unwrap(&wrapped), Some(KEY));
        let other = PublicKey::from(&StaticSecret::from([1; 32])).to_bytes();
        let wrapped = wrap(&other, ID, &KEY, &chance()).unwrap();
        assert_eq!(unwrap(&wrapped), None);
    }

    #[test]
    fn the_key_belongs_to_its_id() {
        let application = PublicKey::from(&StaticSecret::from(SECRET)).to_bytes();
        let mut wrapped = wrap(&application, ID, &KEY, &chance()).unwrap();
        wrapped.key_id[0] ^= 1;
        assert_eq!(unwrap(&wrapped), None);
    }

    #[test]
    fn nothing_is_wrapped_for_a_point_of_low_order() {
        assert_eq!(wrap(&[0; 32], ID, &KEY, &chance()), None);
    }
}
