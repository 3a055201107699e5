/work/main/fuzz/target/release/deps/description-cd806aaa681754ba.d: /work/main/clippy.toml targets/description.rs targets/../trees/two-guests.dtb Cargo.toml

/work/main/fuzz/target/release/deps/libdescription-cd806aaa681754ba.rmeta: /work/main/clippy.toml targets/description.rs targets/../trees/two-guests.dtb Cargo.toml

/work/main/clippy.toml:
targets/description.rs:
targets/../trees/two-guests.dtb:
Cargo.toml:

# env-dep:CLIPPY_ARGS=
# env-dep:CLIPPY_CONF_DIR
