/work/main/fuzz/target/release/deps/page_list-b2fb2fd03e67c6f9.d: /work/main/clippy.toml targets/page_list.rs Cargo.toml

/work/main/fuzz/target/release/deps/libpage_list-b2fb2fd03e67c6f9.rmeta: /work/main/clippy.toml targets/page_list.rs Cargo.toml

/work/main/clippy.toml:
targets/page_list.rs:
Cargo.toml:

# env-dep:CLIPPY_ARGS=
# env-dep:CLIPPY_CONF_DIR
