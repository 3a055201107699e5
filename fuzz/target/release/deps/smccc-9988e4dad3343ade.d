/work/main/fuzz/target/release/deps/smccc-9988e4dad3343ade.d: /work/main/smccc/src/lib.rs

/work/main/fuzz/target/release/deps/libsmccc-9988e4dad3343ade.rmeta: /work/main/smccc/src/lib.rs

/work/main/smccc/src/lib.rs:
