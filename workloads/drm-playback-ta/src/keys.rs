//! The application's own key pair, and the content keys in secure storage.
//! `drm_protocol::WrappedKey` says how a content key is wrapped.

use core::mem;

use drm_protocol::{
    CONTENT_KEY_SIZE, KEY_ID_SIZE, KeyId, PUBLIC_KEY_SIZE, TAG_SIZE, WRAPPING_LABEL, WrappedKey,
};
use optee_utee::{
    AE, AlgorithmId, Attribute, AttributeId, AttributeMemref, DataFlag, Digest, ErrorKind,
    GenericObject as _, ObjectHandle, ObjectStorageConstants, OperationMode, PersistentObject,
    Random, Result, TransientObject, TransientObjectType, UsageFlag,
};
use x25519_dalek::{PublicKey, StaticSecret};
use zerocopy::FromBytes as _;
use zeroize::Zeroizing;

/// The object with the application's secret.
const SECRET: &[u8] = b"provisioning secret";
/// What the objects of content keys are called, before the key's ID.
const CONTENT_KEY: &[u8; 4] = b"key ";
/// Bits of a wrapping key.
const WRAPPING_KEY_BITS: usize = 256;

/// The public key that content keys are wrapped for.
pub fn public_key() -> Result<[u8; PUBLIC_KEY_SIZE]> {
    Ok(PublicKey::from(&secret()?).to_bytes())
}

/// Unwraps a content key and keeps it.
pub fn provision(wrapped: &[u8]) -> Result<()> {
    let wrapped = WrappedKey::read_from_bytes(wrapped).map_err(|_| ErrorKind::BadParameters)?;
    let key = unwrap(&wrapped)?;
    store(&wrapped.key_id, &key)
}

/// The object of a content key, for as long as it takes to set an operation's key.
pub fn open(id: &KeyId) -> Result<PersistentObject> {
    PersistentObject::open(
        ObjectStorageConstants::Private,
        &name(id),
        DataFlag::ACCESS_READ | DataFlag::SHARE_READ,
    )
}

/// Removes a content key. Streams that are open keep what they have.
pub fn forget(id: KeyId) -> Result<()> {
    PersistentObject::open(
        ObjectStorageConstants::Private,
        &name(&id),
        DataFlag::ACCESS_WRITE_META,
    )?
    .close_and_delete()
}

fn name(id: &KeyId) -> [u8; CONTENT_KEY.len() + KEY_ID_SIZE] {
    let mut name = [0; CONTENT_KEY.len() + KEY_ID_SIZE];
    let (first, second) = name.split_at_mut(CONTENT_KEY.len());
    first.copy_from_slice(CONTENT_KEY);
    second.copy_from_slice(id);
    name
}

/// The application's secret: made at random when it is asked for the first time.
fn secret() -> Result<StaticSecret> {
    match read_secret() {
        Err(error) if error.kind() == ErrorKind::ItemNotFound => {}
        done => return done,
    }
    let mut secret = Zeroizing::new([0; PUBLIC_KEY_SIZE]);
    Random::generate(secret.as_mut_slice());
    let created = PersistentObject::create(
        ObjectStorageConstants::Private,
        SECRET,
        DataFlag::ACCESS_READ | DataFlag::SHARE_READ,
        None,
        secret.as_slice(),
    );
    match created {
        Ok(_) => Ok(StaticSecret::from(*secret)),
        // Another session was faster.
        Err(error) if error.kind() == ErrorKind::AccessConflict => read_secret(),
        Err(error) => Err(error),
    }
}

fn read_secret() -> Result<StaticSecret> {
    let mut object = PersistentObject::open(
        ObjectStorageConstants::Private,
        SECRET,
        DataFlag::ACCESS_READ | DataFlag::SHARE_READ,
    )?;
    let mut secret = Zeroizing::new([0; PUBLIC_KEY_SIZE]);
    if object.read(secret.as_mut_slice())? as usize != PUBLIC_KEY_SIZE {
        return Err(ErrorKind::CorruptObject.into());
    }
    Ok(StaticSecret::from(*secret))
}

fn unwrap(wrapped: &WrappedKey) -> Result<Zeroizing<[u8; CONTENT_KEY_SIZE]>> {
    let wrapping_key = wrapping_key(&wrapped.public_key)?;
    let mut key = TransientObject::allocate(TransientObjectType::Aes, WRAPPING_KEY_BITS)?;
    key.populate(&[secret_value(wrapping_key.as_slice())])?;
    let cipher = AE::allocate(
        AlgorithmId::AesGcm,
        OperationMode::Decrypt,
        WRAPPING_KEY_BITS,
    )?;
    cipher.set_key(&key)?;
    cipher.init(
        &wrapped.nonce,
        TAG_SIZE * 8,
        wrapped.key_id.len(),
        wrapped.content_key.len(),
    )?;
    cipher.update_aad(&wrapped.key_id);
    let mut content_key = Zeroizing::new([0; CONTENT_KEY_SIZE]);
    cipher.decrypt_final(
        &wrapped.content_key,
        content_key.as_mut_slice(),
        &wrapped.tag,
    )?;
    Ok(content_key)
}

/// The key that a content key of this issuer is wrapped with.
fn wrapping_key(issuer: &[u8; PUBLIC_KEY_SIZE]) -> Result<Zeroizing<[u8; WRAPPING_KEY_BITS / 8]>> {
    let secret = secret()?;
    let shared = secret.diffie_hellman(&PublicKey::from(*issuer));
    // A point of low order gives the same for every secret (RFC 7748, section 6.1).
    if !shared.was_contributory() {
        return Err(ErrorKind::BadParameters.into());
    }
    let digest = Digest::allocate(AlgorithmId::Sha256)?;
    digest.update(&1u32.to_be_bytes());
    digest.update(shared.as_bytes());
    digest.update(WRAPPING_LABEL);
    digest.update(issuer);
    let mut key = Zeroizing::new([0; WRAPPING_KEY_BITS / 8]);
    digest.do_final(PublicKey::from(&secret).as_bytes(), key.as_mut_slice())?;
    Ok(key)
}

/// Keeps a content key as an object that ciphers can use and no one can read, the application
/// included.
fn store(id: &KeyId, content_key: &[u8; CONTENT_KEY_SIZE]) -> Result<()> {
    let mut key = TransientObject::allocate(TransientObjectType::Aes, CONTENT_KEY_SIZE * 8)?;
    key.populate(&[secret_value(content_key)])?;
    key.restrict_usage(UsageFlag::DECRYPT)?;
    // SAFETY: the handle goes to `attributes`, which closes it; `key` does not close it any more.
    let attributes = ObjectHandle::from_raw(unsafe { *key.as_raw_ref() })?;
    mem::forget(key);
    PersistentObject::create(
        ObjectStorageConstants::Private,
        &name(id),
        DataFlag::ACCESS_READ | DataFlag::OVERWRITE,
        Some(attributes),
        &[],
    )
    .map(drop)
}

fn secret_value(key: &[u8]) -> Attribute {
    AttributeMemref::from_ref(AttributeId::SecretValue, key).into()
}
