//! Signing trusted applications (OP-TEE 4.5, `core/include/signed_hdr.h`).

use anyhow::{Context as _, Result, anyhow};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PSS_SHA256, RsaKeyPair};
use rustls_pki_types::PrivatePkcs1KeyDer;
use rustls_pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};

/// `SHDR_MAGIC`.
const MAGIC: u32 = 0x4f54_5348;
/// `SHDR_BOOTSTRAP_TA`: signed, and not encrypted.
const BOOTSTRAP: u32 = 1;
/// `TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA256`.
const ALGORITHM: u32 = 0x7041_4930;
/// Bytes of a hash.
const HASH_SIZE: u16 = 32;
/// What keeps an older version from replacing a newer one in OP-TEE's own database of applications,
/// which is not used here.
const VERSION: u32 = 0;

/// What OP-TEE loads: the program, with a signature that this key (RSA, PKCS #1 in PEM) makes.
///
/// # Errors
///
/// The key is none, or the program is too large.
pub(crate) fn sign(program: &[u8], uuid: [u8; 16], key: &[u8]) -> Result<Vec<u8>> {
    let key = PrivatePkcs1KeyDer::from_pem_slice(key)
        .map_err(|error| anyhow!("the key is not in PEM: {error:?}"))?;
    let key = RsaKeyPair::from_der(key.secret_pkcs1_der())
        .map_err(|error| anyhow!("the key is refused: {error}"))?;
    let mut signature = vec![0; key.public().modulus_len()];

    let program_size = u32::try_from(program.len()).context("the program is too large")?;
    let signature_size = u16::try_from(signature.len()).context("the key is too large")?;
    let header = [
        &MAGIC.to_le_bytes()[..],
        &BOOTSTRAP.to_le_bytes(),
        &program_size.to_le_bytes(),
        &ALGORITHM.to_le_bytes(),
        &HASH_SIZE.to_le_bytes(),
        &signature_size.to_le_bytes(),
    ]
    .concat();
    let body = [&uuid[..], &VERSION.to_le_bytes(), program].concat();
    let signed = [&header[..], &body].concat();
    key.sign(
        &RSA_PSS_SHA256,
        &SystemRandom::new(),
        &signed,
        &mut signature,
    )
    .map_err(|_| anyhow!("the program can't be signed"))?;
    let hash = Sha256::digest(&signed);
    Ok([&header[..], &hash, &signature, &body].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_refused() {
        let refusal = |key: &[u8]| sign(b"program", [0; 16], key).unwrap_err().to_string();
        assert!(refusal(b"a key").starts_with("the key is not in PEM"));
        let other = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(refusal(other).starts_with("the key is not in PEM"));
        let empty = b"-----BEGIN RSA PRIVATE KEY-----\nMAA=\n-----END RSA PRIVATE KEY-----\n";
        assert!(refusal(empty).starts_with("the key is refused"));
    }
}
