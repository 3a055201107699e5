/work/main/fuzz/target/release/deps/twox_hash-65435bff0e5d7450.d: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/twox-hash-2.1.5/src/lib.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/twox-hash-2.1.5/src/xxhash64.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/twox-hash-2.1.5/src/../README.md

/work/main/fuzz/target/release/deps/libtwox_hash-65435bff0e5d7450.rmeta: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/twox-hash-2.1.5/src/lib.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/twox-hash-2.1.5/src/xxhash64.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/twox-hash-2.1.5/src/../README.md

/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/twox-hash-2.1.5/src/lib.rs:
/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/twox-hash-2.1.5/src/xxhash64.rs:
/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/twox-hash-2.1.5/src/../README.md:
