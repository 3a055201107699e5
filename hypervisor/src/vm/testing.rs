//! VMs for tests, on the CPU that a thread is.

#![expect(
    unsafe_code,
    reason = "stands in for the boot code: hands out memory, modules and CPUs"
)]

use crate::arch::fake;
use crate::arch::this_cpu::ThisCpu;
use crate::description::policy::CallPolicy;
use crate::description::vm::{Module, ShmLimits, VmDescription};
use crate::mm::boot_modules::BootModule;
use crate::mm::frames::Frames;
use crate::mm::guest_memory::GuestRam;
use crate::vm::image::device_tree::GuestLayout;
use crate::vm::image::loader::Modules;
use crate::vm::passthrough::Passthrough;
use crate::vm::power::{Status, Step};
use crate::vm::vcpu::Vcpu;
use crate::vm::virtual_machine::Vm;
use addresses::Pa;
use host_abi::binding::TeeChoice;
use host_abi::memory_map::BLOCK_SIZE;
use mediator::ta_access::TaAccess;
use smccc::Conduit;
use std::alloc::Layout;
use std::boxed::Box;
use std::string::String;
use std::vec::Vec;

/// Bytes of memory that a VM has.
pub const MEMORY: u64 = 4 * BLOCK_SIZE;

/// What the VM's memory begins with.
pub const KERNEL: [u8; 8] = *b"a kernel";

/// What a VM has if nothing else is said.
pub fn description(vcpus: usize) -> VmDescription {
    let module = Module {
        pa: Pa(0),
        len: KERNEL.len() as u64,
    };
    VmDescription {
        name: String::from("vm1"),
        memory: MEMORY,
        vcpu_cpus: (0..vcpus).collect(),
        kernel: module,
        ramdisk: None,
        bootargs: String::new(),
        tee: TeeChoice::None,
        conduit: Conduit::Smc,
        ta_access: TaAccess::default(),
        ta_instances_max: None,
        tee_calls_per_second: None,
        shm_limits: ShmLimits::default(),
        policy: CallPolicy::default(),
        pci: Vec::new(),
    }
}

/// A VM and its vCPUs, on this thread's CPU.
pub struct Bench {
    /// The CPU, which all vCPUs run on.
    pub cpu: ThisCpu,
    /// The VM.
    pub vm: &'static Vm,
    /// Its vCPUs.
    pub vcpus: Vec<Vcpu>,
}

/// VM number `id`, from 1 on, off.
pub fn vm(id: u16, description: VmDescription) -> &'static Vm {
    vm_with_devices(id, description, |_| None)
}

/// The same with devices, which are made for its memory.
pub fn vm_with_devices(
    id: u16,
    description: VmDescription,
    devices: impl FnOnce(&GuestRam) -> Option<Passthrough>,
) -> &'static Vm {
    fake::set_register("cntfrq_el0", 62_500_000);
    // ICH_VTR_EL2: four list registers.
    fake::set_register("ich_vtr_el2", 3);
    let layout = Layout::from_size_align(description.memory as usize, BLOCK_SIZE as usize);
    // SAFETY: the size is not zero.
    let memory = unsafe { std::alloc::alloc(layout.expect("a size and an alignment")) };
    let mut free = Frames::new();
    free.add(Pa(memory as u64), description.memory);
    // SAFETY: the memory was allocated above, stays, and is used for this alone.
    let ram = unsafe { GuestRam::allocate(&mut free, GuestLayout::RAM, description.memory, false) };
    let kernel: &'static [u8] = Box::leak(Box::new(KERNEL));
    // SAFETY: the bytes stay as they are.
    let kernel = unsafe { BootModule::new(Pa(kernel.as_ptr() as u64), kernel.len()) };
    let modules = Modules {
        kernel,
        ramdisk: None,
    };
    let ram = Box::leak(Box::new(ram.expect("memory for the VM")));
    let devices = devices(ram);
    Box::leak(Box::new(Vm::new(id, description, ram, modules, devices)))
}

/// The CPU that a thread is.
pub fn this_cpu() -> ThisCpu {
    // SAFETY: the thread is the CPU, for the one test that it runs.
    unsafe { ThisCpu::new(0) }
}

impl Bench {
    /// A VM as described, off.
    pub fn off(description: VmDescription) -> Self {
        Self::of(vm(1, description))
    }

    /// One that is off.
    pub fn of(vm: &'static Vm) -> Self {
        let vcpus = 0..vm.description.vcpu_cpus.len();
        Self {
            cpu: this_cpu(),
            vm,
            vcpus: vcpus
                .map(|index| Vcpu::new(vm, index, true, true))
                .collect(),
        }
    }

    /// A VM with this many vCPUs, of which the first one is on.
    pub fn new(vcpus: usize) -> Self {
        Self::started(description(vcpus))
    }

    /// A VM as described, of which the first vCPU is on.
    pub fn started(description: VmDescription) -> Self {
        let mut bench = Self::off(description);
        bench.vm.ask_for_start();
        assert_eq!(bench.work(), Step::Done);
        assert!(matches!(bench.vcpus[0].look(), Status::On { .. }));
        bench
    }

    /// Does what the first vCPU has to do besides being entered, until there is no more.
    pub fn work(&mut self) -> Step {
        let _ = self.vcpus[0].look();
        loop {
            match self.vcpus[0].do_other_work() {
                Step::GoesOn => {}
                step => return step,
            }
        }
    }
}
