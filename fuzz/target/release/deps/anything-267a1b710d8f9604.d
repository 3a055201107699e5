/work/main/fuzz/target/release/deps/anything-267a1b710d8f9604.d: /work/main/clippy.toml targets/anything.rs Cargo.toml

/work/main/fuzz/target/release/deps/libanything-267a1b710d8f9604.rmeta: /work/main/clippy.toml targets/anything.rs Cargo.toml

/work/main/clippy.toml:
targets/anything.rs:
Cargo.toml:

# env-dep:CLIPPY_ARGS=
# env-dep:CLIPPY_CONF_DIR
