/work/main/fuzz/target/release/deps/addresses-373f2b42ac7cf473.d: /work/main/addresses/src/lib.rs

/work/main/fuzz/target/release/deps/libaddresses-373f2b42ac7cf473.rmeta: /work/main/addresses/src/lib.rs

/work/main/addresses/src/lib.rs:
