//! Describes the trusted application to OP-TEE, and links it with OP-TEE's kit.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use drm_protocol::UUID_TEXT;
use optee_utee_build::{Builder, HeaderFileGenerator, TaConfig};

/// Bytes for the heap: the scratch memory of a stream, a table of subsamples, and room for
/// operations and keys.
const HEAP: u32 = 96 << 10;
/// Bytes for the stack: the arithmetic of X25519 takes most.
const STACK: u32 = 16 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    // Each session has an instance of its own: streams don't wait for one another.
    let description = TaConfig::new_default_with_cargo_env(UUID_TEXT)
        .map(|config| {
            config
                .ta_data_size(HEAP)
                .ta_stack_size(STACK)
                .trace_level(1)
        })
        .map_err(|error| format!("{error:?}"))?;
    if std::env::var_os("TA_DEV_KIT_DIR").is_some() {
        Builder::new(description).build()
    } else {
        // Enough to check the source.
        HeaderFileGenerator::new()
            .generate(&description)
            .and_then(|header| {
                let folder = PathBuf::from(std::env::var("OUT_DIR")?);
                Ok(fs::write(folder.join("user_ta_header.rs"), header)?)
            })
    }
    .map_err(|error| format!("{error:?}").into())
}
