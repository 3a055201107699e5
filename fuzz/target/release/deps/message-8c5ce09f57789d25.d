/work/main/fuzz/target/release/deps/message-8c5ce09f57789d25.d: /work/main/clippy.toml targets/message.rs Cargo.toml

/work/main/fuzz/target/release/deps/libmessage-8c5ce09f57789d25.rmeta: /work/main/clippy.toml targets/message.rs Cargo.toml

/work/main/clippy.toml:
targets/message.rs:
Cargo.toml:

# env-dep:CLIPPY_ARGS=
# env-dep:CLIPPY_CONF_DIR
