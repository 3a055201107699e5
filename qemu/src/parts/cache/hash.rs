//! SHA-256, in the hexadecimal form that Debian's package lists use.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

/// 64 lower-case hexadecimal digits.
pub(super) type Sha256Hex = String;

pub(crate) fn sha256_of_bytes(bytes: &[u8]) -> Sha256Hex {
    hexadecimal(&Sha256::digest(bytes))
}

/// Hashes a file piece by piece: kernels and packages are large.
pub(crate) fn sha256_of_file(path: &Path) -> Result<Sha256Hex> {
    let context = || format!("{} can't be read", path.display());
    let mut file = File::open(path).with_context(context)?;
    let mut state = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer).with_context(context)?;
        if count == 0 {
            return Ok(hexadecimal(&state.finalize()));
        }
        state.update(buffer.get(..count).unwrap_or_default());
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_file_hash_alike() {
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        assert_eq!(sha256_of_bytes(b"abc"), expected);
        assert_eq!(sha256_of_file(file.path()).unwrap(), expected);
    }
}
