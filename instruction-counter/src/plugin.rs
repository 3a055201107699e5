//! The side towards QEMU: what it calls, and the functions of it that are called (QEMU 7.2,
//! `include/qemu/qemu-plugin.h`).

use std::ffi::{CStr, OsStr, c_char, c_int, c_uint, c_void};
use std::fs::File;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::ptr;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::count::{BEGIN, Cpus, END};

/// The version of the interface that this is written for, which QEMU looks for.
#[unsafe(no_mangle)]
pub static qemu_plugin_version: c_int = 1;

/// How long a CPU waits for another one before it executes a block more: QEMU stops all CPUs at a
/// block's end for some of what one does (a TLB maintenance instruction that all have to follow),
/// and the CPU that is waited for may be the one.
const PATIENCE: Duration = Duration::from_micros(50);

static CPUS: Cpus = Cpus::new();
static LOG: OnceLock<File> = OnceLock::new();

/// A block of instructions that QEMU translates; opaque.
#[repr(C)]
struct Block([u8; 0]);

/// One of its instructions; opaque.
#[repr(C)]
struct Instruction([u8; 0]);

type OnTranslation = extern "C" fn(id: u64, block: *mut Block);
type OnEvent = extern "C" fn(id: u64, cpu: c_uint);
type OnExecution = extern "C" fn(cpu: c_uint, data: *mut c_void);

/// `QEMU_PLUGIN_CB_NO_REGS`: a callback does not look at the CPU's registers.
const NO_REGISTERS: c_int = 0;

// SAFETY: as QEMU declares them for version 1.
unsafe extern "C" {
    fn qemu_plugin_register_vcpu_tb_trans_cb(id: u64, callback: OnTranslation);
    fn qemu_plugin_register_vcpu_idle_cb(id: u64, callback: OnEvent);
    fn qemu_plugin_register_vcpu_tb_exec_cb(
        block: *mut Block,
        callback: OnExecution,
        flags: c_int,
        data: *mut c_void,
    );
    fn qemu_plugin_register_vcpu_insn_exec_cb(
        instruction: *mut Instruction,
        callback: OnExecution,
        flags: c_int,
        data: *mut c_void,
    );
    fn qemu_plugin_tb_n_insns(block: *const Block) -> usize;
    fn qemu_plugin_tb_get_insn(block: *const Block, index: usize) -> *mut Instruction;
    fn qemu_plugin_insn_size(instruction: *const Instruction) -> usize;
    fn qemu_plugin_insn_data(instruction: *const Instruction) -> *const c_void;
}

/// Called by QEMU when it has loaded the plugin. Returns 0, or something else if there is no file
/// to write to.
///
/// # Safety
///
/// `arguments` points to `count` strings that end with 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    id: u64,
    _info: *const c_void,
    count: c_int,
    arguments: *const *const c_char,
) -> c_int {
    let mut log = None;
    for index in 0..usize::try_from(count).unwrap_or(0) {
        // SAFETY: the caller vouches for the array and its strings.
        let argument = unsafe { CStr::from_ptr(*arguments.add(index)) };
        log = log.or(argument.to_bytes().strip_prefix(b"log="));
    }
    let Some(file) = log.and_then(|path| File::create(OsStr::from_bytes(path)).ok()) else {
        eprintln!(
            "instruction-counter: the argument log=FILE must name a file that can be written"
        );
        return 1;
    };
    // It is called once.
    drop(LOG.set(file));
    // SAFETY: `id` is this plugin's.
    unsafe {
        qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
        qemu_plugin_register_vcpu_idle_cb(id, waits_for_interrupt);
    };
    0
}

/// QEMU translates a block, as often as it likes.
extern "C" fn translated(_id: u64, block: *mut Block) {
    // SAFETY: QEMU vouches for `block` during this call.
    let count = unsafe { qemu_plugin_tb_n_insns(block) };
    // SAFETY: as above; what is handed over is a number.
    unsafe {
        let count = ptr::without_provenance_mut(count);
        qemu_plugin_register_vcpu_tb_exec_cb(block, block_executed, NO_REGISTERS, count);
    };
    for index in 0..count {
        // SAFETY: as above, and the index is below the block's number of instructions.
        let instruction = unsafe { qemu_plugin_tb_get_insn(block, index) };
        let callback = match word(instruction) {
            Some(BEGIN) => begin_executed,
            Some(END) => end_executed,
            _ => continue,
        };
        // SAFETY: as above; nothing is handed over.
        unsafe {
            qemu_plugin_register_vcpu_insn_exec_cb(
                instruction,
                callback,
                NO_REGISTERS,
                ptr::null_mut(),
            );
        };
    }
}

/// The encoding of an instruction of AArch64.
fn word(instruction: *const Instruction) -> Option<u32> {
    // SAFETY: it is an instruction of the block that is being translated, and its data are as many
    // bytes as its size says.
    let bytes = unsafe {
        let data: *const u8 = qemu_plugin_insn_data(instruction).cast();
        std::slice::from_raw_parts(data, qemu_plugin_insn_size(instruction))
    };
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

extern "C" fn block_executed(cpu: c_uint, count: *mut c_void) {
    let cpu = cpu as usize;
    if !CPUS.execute(cpu, count.addr() as u64) {
        return;
    }
    let began = Instant::now();
    while CPUS.is_ahead(cpu) && began.elapsed() < PATIENCE {
        thread::yield_now();
    }
}

extern "C" fn waits_for_interrupt(_id: u64, cpu: c_uint) {
    CPUS.idle(cpu as usize);
}

extern "C" fn begin_executed(cpu: c_uint, _: *mut c_void) {
    CPUS.begin(cpu as usize);
}

extern "C" fn end_executed(cpu: c_uint, _: *mut c_void) {
    let (Some(interval), Some(mut log)) = (CPUS.end(cpu as usize), LOG.get()) else {
        return;
    };
    // A line at a time, so that each is whole when QEMU is killed. What is missing is missed by
    // whoever reads them.
    let line = format!("{} {}\n", interval.own, interval.others);
    drop(log.write_all(line.as_bytes()));
}
