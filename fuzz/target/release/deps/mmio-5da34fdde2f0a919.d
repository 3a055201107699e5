/work/main/fuzz/target/release/deps/mmio-5da34fdde2f0a919.d: /work/main/clippy.toml targets/mmio.rs Cargo.toml

/work/main/fuzz/target/release/deps/libmmio-5da34fdde2f0a919.rmeta: /work/main/clippy.toml targets/mmio.rs Cargo.toml

/work/main/clippy.toml:
targets/mmio.rs:
Cargo.toml:

# env-dep:CLIPPY_ARGS=
# env-dep:CLIPPY_CONF_DIR
