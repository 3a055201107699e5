/work/main/fuzz/target/release/deps/arm_psci-bb282c16735a35fb.d: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/arm-psci-0.2.0/src/lib.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/arm-psci-0.2.0/src/../README.md

/work/main/fuzz/target/release/deps/libarm_psci-bb282c16735a35fb.rmeta: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/arm-psci-0.2.0/src/lib.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/arm-psci-0.2.0/src/../README.md

/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/arm-psci-0.2.0/src/lib.rs:
/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/arm-psci-0.2.0/src/../README.md:
