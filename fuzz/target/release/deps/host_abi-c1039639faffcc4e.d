/work/main/fuzz/target/release/deps/host_abi-c1039639faffcc4e.d: /work/main/host-abi/src/lib.rs /work/main/host-abi/src/binding.rs /work/main/host-abi/src/console.rs /work/main/host-abi/src/console/bill.rs /work/main/host-abi/src/console/command.rs /work/main/host-abi/src/console/event.rs /work/main/host-abi/src/console/scanner.rs /work/main/host-abi/src/console/stats.rs /work/main/host-abi/src/console/summary.rs /work/main/host-abi/src/console/tag.rs /work/main/host-abi/src/memory_map.rs /work/main/host-abi/src/name.rs

/work/main/fuzz/target/release/deps/libhost_abi-c1039639faffcc4e.rmeta: /work/main/host-abi/src/lib.rs /work/main/host-abi/src/binding.rs /work/main/host-abi/src/console.rs /work/main/host-abi/src/console/bill.rs /work/main/host-abi/src/console/command.rs /work/main/host-abi/src/console/event.rs /work/main/host-abi/src/console/scanner.rs /work/main/host-abi/src/console/stats.rs /work/main/host-abi/src/console/summary.rs /work/main/host-abi/src/console/tag.rs /work/main/host-abi/src/memory_map.rs /work/main/host-abi/src/name.rs

/work/main/host-abi/src/lib.rs:
/work/main/host-abi/src/binding.rs:
/work/main/host-abi/src/console.rs:
/work/main/host-abi/src/console/bill.rs:
/work/main/host-abi/src/console/command.rs:
/work/main/host-abi/src/console/event.rs:
/work/main/host-abi/src/console/scanner.rs:
/work/main/host-abi/src/console/stats.rs:
/work/main/host-abi/src/console/summary.rs:
/work/main/host-abi/src/console/tag.rs:
/work/main/host-abi/src/memory_map.rs:
/work/main/host-abi/src/name.rs:
