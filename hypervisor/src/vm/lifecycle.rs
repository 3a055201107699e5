//! A VM's life, from start to stop. Who may do what when is decided in [`crate::vm::power`]; here
//! it is done.

use crate::arch::timer;
use crate::console::rate_limit::Pass;
use crate::console::terminal;
use crate::mm::guest_memory::NotGuestMemory;
use crate::vm::image::loader::Filling;
use crate::vm::partition::Teardown;
use crate::vm::passthrough::Passthrough;
use crate::vm::power::{After, CpuOnError, Entry, Life, Step, VcpuPower};
use crate::vm::virtual_machine::Vm;
use addresses::Ipa;
use alloc::string::{String, ToString as _};
use arm_psci::ErrorCode;
use core::fmt;
use core::sync::atomic::Ordering;
use host_abi::console::{Event, GuestState};

impl Vm {
    /// Asks for the VM to start at boot or after a stop that is followed by a restart; the CPU of
    /// its first vCPU does it.
    pub fn ask_for_start(&self) {
        self.lifecycle.power.lock().ask_for_start();
        self.kick_vcpu(0);
    }

    /// Starts a VM again that is off for good. Returns whether it was.
    pub fn start_again(&self) -> bool {
        let off = self.lifecycle.power.lock().ask_for_start();
        if off {
            self.lifecycle
                .tells_of_this_life
                .store(true, Ordering::Relaxed);
            self.kick_vcpu(0);
        }
        off
    }

    /// Where the VM is in its life.
    pub fn life(&self) -> Life {
        self.lifecycle.power.lock().life()
    }

    /// The same as a person is told.
    pub fn state(&self) -> GuestState {
        match self.life() {
            Life::Off => GuestState::Off,
            Life::Starting => GuestState::Starting,
            Life::Running => GuestState::Running,
            Life::Stopping(_) | Life::Ending(_) => GuestState::Stopping,
        }
    }

    /// If the VM was asked to start, begins to fill its memory. For the CPU of its first vCPU.
    pub fn begin_start(&self) -> Option<Filling> {
        if self.lifecycle.power.lock().life() != Life::Starting {
            return None;
        }
        Some(Filling::new(self.ram))
    }

    /// Goes on with filling the VM's memory. In the end the first vCPU starts, or the VM is off.
    pub fn go_on_starting(&self, filling: &mut Filling) -> Step {
        let image = match &self.image {
            Ok(image) => image,
            Err(reason) => return self.fail_start(reason),
        };
        let entry = match filling.advance(image) {
            Ok(None) => return Step::GoesOn,
            Ok(Some(_)) if !self.devices.as_ref().is_none_or(Passthrough::is_reset) => {
                return Step::GoesOn;
            }
            Ok(Some(entry)) => self.reset_devices().map(|()| entry),
            Err(NotGuestMemory) => Err(String::from("its image reaches beyond its memory")),
        };
        match entry {
            Ok(entry) => {
                if self.lifecycle.tells_of_this_life.load(Ordering::Relaxed) {
                    self.tell_event::<&str>(&Event::Started {
                        name: self.name(),
                        summary: self.summary(),
                    });
                }
                self.lifecycle.starts.fetch_add(1, Ordering::Relaxed);
                let mut power = self.lifecycle.power.lock();
                self.lifecycle.stopping.store(false, Ordering::Release);
                power.started(entry);
                Step::Done
            }
            Err(reason) => self.fail_start(&reason),
        }
    }

    /// Makes what belongs to one life of the VM besides its memory.
    fn reset_devices(&self) -> Result<(), String> {
        self.gic.reset();
        self.console.reset();
        self.clock.reset();
        self.tee.make(self.id, &self.description, self.ram)?;
        if let Some(devices) = &self.devices {
            devices.hand_over().map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn fail_start(&self, reason: &str) -> Step {
        let name = self.name();
        self.take_devices();
        self.tell_event(&Event::Stopped { name, reason });
        self.lifecycle.power.lock().start_failed();
        Step::Off
    }

    /// Has its devices reach nothing any more.
    fn take_devices(&self) {
        if let Some(Err(error)) = self.devices.as_ref().map(Passthrough::take_away) {
            log::error!("{}: its devices: {error}", self.name());
        }
    }

    /// Tells that the VM was reset, and has the next life tell of its start, unless that is so
    /// often that it floods the console.
    fn tell_of_reset(&self) {
        let pass = self.lifecycle.told_resets.lock().event(timer::now());
        self.lifecycle
            .tells_of_this_life
            .store(pass != Pass::No, Ordering::Relaxed);
        if let Pass::Yes { held_back } = pass {
            if held_back != 0 {
                self.tell_event::<&str>(&Event::ResetUntold {
                    name: self.name(),
                    times: held_back,
                });
            }
            self.tell_event::<&str>(&Event::Reset { name: self.name() });
        }
    }

    /// Asks for vCPU `target` to start (PSCI CPU_ON, DEN0022F.b §5.1.4).
    ///
    /// # Errors
    ///
    /// As the specification has them: no such vCPU, on or starting already, an entry outside of
    /// memory.
    pub fn cpu_on(&self, target: usize, entry: Entry) -> Result<(), ErrorCode> {
        let starts_in_memory = self.can_start_at(entry.pc);
        let mut power = self.lifecycle.power.lock();
        if !starts_in_memory && power.vcpu(target) == Some(VcpuPower::Off) {
            return Err(ErrorCode::InvalidAddress);
        }
        power.cpu_on(target, entry).map_err(|error| match error {
            CpuOnError::NoSuchVcpu => ErrorCode::InvalidParameters,
            CpuOnError::AlreadyOn => ErrorCode::AlreadyOn,
            CpuOnError::OnPending => ErrorCode::OnPending,
        })?;
        drop(power);
        self.kick_vcpu(target);
        Ok(())
    }

    /// Whether a vCPU can start at the IPA `pc`.
    pub fn can_start_at(&self, pc: u64) -> bool {
        pc.is_multiple_of(4) && self.ram.run(Ipa(pc)).is_ok()
    }

    /// The power state of vCPU `target`, if there is one.
    pub fn vcpu_power(&self, target: usize) -> Option<VcpuPower> {
        self.lifecycle.power.lock().vcpu(target)
    }

    /// If vCPU `index` was asked to start, takes note that it does and says where.
    pub fn take_start(&self, index: usize) -> Option<Entry> {
        self.lifecycle.power.lock().take_start(index)
    }

    /// Takes note that vCPU `index` turned itself off. A VM whose vCPUs are all off is stopped.
    pub fn cpu_off(&self, index: usize) {
        let someone_left = self.lifecycle.power.lock().cpu_off(index);
        if !someone_left {
            self.stop(After::Off, Some(format_args!("all its vCPUs are off")));
        }
    }

    /// Asks for the VM to stop; `reason` is given where it did not ask for it itself. Returns
    /// whether it was running.
    pub fn stop(&self, after: After, reason: Option<fmt::Arguments<'_>>) -> bool {
        let mut power = self.lifecycle.power.lock();
        if !power.stop(after) {
            return false;
        }
        self.lifecycle.stopping.store(true, Ordering::Release);
        drop(power);
        if let Some(reason) = reason {
            let name = self.name();
            self.tell_event(&Event::Stopped { name, reason });
        }
        for index in 0..self.description.vcpu_cpus.len() {
            self.kick_vcpu(index);
        }
        true
    }

    /// Whether the VM is about to stop, so that its vCPUs must not run.
    pub fn is_stopping(&self) -> bool {
        self.lifecycle.stopping.load(Ordering::Acquire)
    }

    /// Takes note that vCPU `index`, which is in no CPU, will not run any more in this life of the
    /// VM. With the last one the VM has come to its end, which is for the CPU of vCPU 0.
    pub fn let_go(&self, index: usize) {
        if self.lifecycle.power.lock().let_go(index) {
            self.kick_vcpu(0);
        }
    }

    /// Whether the VM has come to its end and is to be torn down.
    pub fn is_ending(&self) -> bool {
        self.is_stopping() && self.lifecycle.power.lock().ending().is_some()
    }

    /// If the VM has come to its end, goes on with tearing it down until that is done or an
    /// interrupt waits. For the CPU of the first vCPU.
    pub fn tear_down(&self) -> Step {
        let Some(after) = self.lifecycle.power.lock().ending() else {
            return Step::Done;
        };
        if let Some(Err(error)) = self.devices.as_ref().map(Passthrough::take_away) {
            log::error!(
                "{}: its devices can't be taken from it: {error}",
                self.name()
            );
        }
        let again = after == After::Restart;
        let renewed = match self.tee.tear_down(self.name(), again) {
            Teardown::Interrupted => return Step::GoesOn,
            Teardown::Done { renewed } => renewed,
        };
        self.console.flush();
        self.tee.drop_unless(renewed);
        let pinned = self.ram.pinned();
        if pinned != 0 {
            terminal::tell::<&str>(&Event::PagesKept {
                name: self.name(),
                pages: pinned,
            });
        }
        self.lifecycle.power.lock().torn_down();
        match after {
            After::Off => {
                self.tell_event::<&str>(&Event::Off { name: self.name() });
                Step::Off
            }
            After::Restart => {
                self.tell_of_reset();
                self.ask_for_start();
                Step::Done
            }
        }
    }

    /// A vCPU is about to execute the first instruction of its life.
    pub fn vcpu_starts(&self, index: usize) {
        if index == 0 && self.lifecycle.starts.load(Ordering::Relaxed) == 1 {
            let since = timer::since_entered().as_nanos();
            terminal::tell::<&str>(&Event::EntersKernel {
                name: self.name(),
                nanoseconds: u64::try_from(since).unwrap_or(u64::MAX),
            });
        }
    }
}

#[cfg(test)]
mod tests;
