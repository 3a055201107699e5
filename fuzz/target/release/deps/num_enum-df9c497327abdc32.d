/work/main/fuzz/target/release/deps/num_enum-df9c497327abdc32.d: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/num_enum-0.7.6/src/lib.rs

/work/main/fuzz/target/release/deps/libnum_enum-df9c497327abdc32.rmeta: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/num_enum-0.7.6/src/lib.rs

/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/num_enum-0.7.6/src/lib.rs:
