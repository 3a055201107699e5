/work/main/fuzz/target/release/deps/optee_abi-91bf5079b432edbd.d: /work/main/optee-abi/src/lib.rs /work/main/optee-abi/src/capabilities.rs /work/main/optee-abi/src/message.rs /work/main/optee-abi/src/message/parameter.rs /work/main/optee-abi/src/pagelist.rs /work/main/optee-abi/src/result.rs /work/main/optee-abi/src/rpc.rs /work/main/optee-abi/src/smc.rs

/work/main/fuzz/target/release/deps/liboptee_abi-91bf5079b432edbd.rmeta: /work/main/optee-abi/src/lib.rs /work/main/optee-abi/src/capabilities.rs /work/main/optee-abi/src/message.rs /work/main/optee-abi/src/message/parameter.rs /work/main/optee-abi/src/pagelist.rs /work/main/optee-abi/src/result.rs /work/main/optee-abi/src/rpc.rs /work/main/optee-abi/src/smc.rs

/work/main/optee-abi/src/lib.rs:
/work/main/optee-abi/src/capabilities.rs:
/work/main/optee-abi/src/message.rs:
/work/main/optee-abi/src/message/parameter.rs:
/work/main/optee-abi/src/pagelist.rs:
/work/main/optee-abi/src/result.rs:
/work/main/optee-abi/src/rpc.rs:
/work/main/optee-abi/src/smc.rs:
