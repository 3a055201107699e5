//! Where this tool was built.

use std::path::{Path, PathBuf};

/// The root of the checkout that this tool was built from.
pub fn checkout() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}
