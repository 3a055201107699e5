//! Commands that OP-TEE asks of the normal world (`OPTEE_RPC_CMD_*`; `optee_rpc_cmd.h`, OP-TEE
//! 4.5.0).

/// `OPTEE_RPC_CMD_LOAD_TA`
pub const LOAD_TA: u32 = 0;
/// `OPTEE_RPC_CMD_RPMB`
pub const RPMB: u32 = 1;
/// `OPTEE_RPC_CMD_FS`
pub const FS: u32 = 2;
/// `OPTEE_RPC_CMD_GET_TIME`
pub const GET_TIME: u32 = 3;
/// `OPTEE_RPC_CMD_NOTIFICATION`
pub const NOTIFICATION: u32 = 4;
/// `OPTEE_RPC_NOTIFICATION_WAIT`, in the first word of [`NOTIFICATION`]'s value; the second one has
/// the notification
pub const NOTIFICATION_WAIT: u64 = 0;
/// `OPTEE_RPC_NOTIFICATION_SEND`, likewise
pub const NOTIFICATION_SEND: u64 = 1;
/// `OPTEE_RPC_CMD_SUSPEND`
pub const SUSPEND: u32 = 5;
/// `OPTEE_RPC_CMD_SHM_ALLOC`
pub const SHM_ALLOC: u32 = 6;
/// `OPTEE_RPC_CMD_SHM_FREE`
pub const SHM_FREE: u32 = 7;
/// `OPTEE_RPC_CMD_GPROF`
pub const GPROF: u32 = 9;
/// `OPTEE_RPC_CMD_SOCKET`
pub const SOCKET: u32 = 10;
/// `OPTEE_RPC_CMD_FTRACE`
pub const FTRACE: u32 = 11;
/// `OPTEE_RPC_CMD_SUPP_PLUGIN`
pub const SUPP_PLUGIN: u32 = 12;
/// `OPTEE_RPC_CMD_BENCH_REG`, whose values carry a physical address
pub const BENCH_REG: u32 = 20;
/// `OPTEE_RPC_CMD_I2C_TRANSFER`
pub const I2C_TRANSFER: u32 = 21;
/// `OPTEE_RPC_CMD_RPMB_PROBE_RESET`
pub const RPMB_PROBE_RESET: u32 = 22;
/// `OPTEE_RPC_CMD_RPMB_PROBE_NEXT`
pub const RPMB_PROBE_NEXT: u32 = 23;
/// `OPTEE_RPC_CMD_RPMB_FRAMES`
pub const RPMB_FRAMES: u32 = 24;

/// `OPTEE_RPC_SHM_TYPE_APPL`: memory that a user-space program shares too
pub const SHM_TYPE_APPL: u64 = 0;
/// `OPTEE_RPC_SHM_TYPE_KERNEL`: memory of the kernel alone
pub const SHM_TYPE_KERNEL: u64 = 1;
/// `OPTEE_RPC_SHM_TYPE_GLOBAL`: memory of the kernel, exported to user space
pub const SHM_TYPE_GLOBAL: u64 = 2;
