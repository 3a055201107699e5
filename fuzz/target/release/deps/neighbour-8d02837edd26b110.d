/work/main/fuzz/target/release/deps/neighbour-8d02837edd26b110.d: /work/main/clippy.toml targets/neighbour.rs Cargo.toml

/work/main/fuzz/target/release/deps/libneighbour-8d02837edd26b110.rmeta: /work/main/clippy.toml targets/neighbour.rs Cargo.toml

/work/main/clippy.toml:
targets/neighbour.rs:
Cargo.toml:

# env-dep:CLIPPY_ARGS=
# env-dep:CLIPPY_CONF_DIR
