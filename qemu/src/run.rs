//! One run: from a description to a report.

pub mod console;
pub mod logs;
pub mod marker;
pub mod operator;
pub mod outcome;
pub mod report;
pub mod socket;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ChildStdout;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result};
use thiserror::Error;

use crate::base::checkout::checkout;
use crate::base::host_tools;
use crate::base::interrupt::Interrupt;
use crate::base::progress::Progress;
use crate::base::run_folder::RunFolder;
use crate::description::{ConfigError, Description, Overrides, Refusals, Work, check_guest_memory};
use crate::machine::device_tree;
use crate::machine::devices;
use crate::machine::placement::Placement;
use crate::machine::qemu::{self, Boot, MachineError, Qemu};
use crate::parts::Parts;
use crate::parts::image;
use crate::run::console::{HYPERVISOR_TAG, Line, Source, Splitter};
use crate::run::logs::{Logs, last_line};
use crate::run::marker::random_token;
use crate::run::operator::{Heard, Operator, Said};
use crate::run::outcome::{End, Event, Failure, RunResult, Trace};
use crate::run::report::{GuestReport, LastSeen, MachineReport, Report};
use crate::run::socket::{Keyboard, Socket};

/// The machine's device tree, in the folder of a run.
const TREE_FILE: &str = "machine.dtb";

/// The ports that lead to guests, in the folder of a run: the guest, the host's, the guest's.
pub const FORWARDS: &str = "forwards";

/// A machine whose hypervisor has said nothing for so long will not come up.
const HYPERVISOR_LIMIT: Duration = Duration::from_secs(60);
/// What a run that is known to have failed gets to say why.
const FAILURE_GRACE: Duration = Duration::from_millis(1500);
/// What QEMU gets to end by itself once all guests are off.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(20);
/// How often the limits are looked at while the consoles are silent.
const TICK: Duration = Duration::from_millis(100);

/// What to run, and how.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The machine description.
    pub config: PathBuf,
    /// What the command line changes in it.
    pub overrides: Overrides,
    /// When to give up, from QEMU's start on.
    pub timeout: Duration,
    /// The folder for logs; `None` is one below `target/runs`, named after the description.
    pub logs: Option<PathBuf>,
    /// End the run as soon as this guest is off, whatever becomes of the others.
    pub until_off: Option<String>,
    /// Guests that may be reset or destroyed and start again: what counts is the life that is their
    /// last.
    pub may_restart: Vec<String>,
    /// Tell at once what becomes of the guests.
    pub live: bool,
    /// Further arguments for QEMU.
    pub qemu_arguments: Vec<OsString>,
    /// Set from outside to end the run.
    pub interrupt: Interrupt,
}

impl RunOptions {
    /// A run of `config` as it stands, for ten minutes at most.
    pub fn new(config: impl Into<PathBuf>) -> Self {
        Self {
            config: config.into(),
            overrides: Overrides::default(),
            timeout: DEFAULT_TIMEOUT,
            logs: None,
            until_off: None,
            may_restart: Vec::new(),
            live: true,
            qemu_arguments: Vec::new(),
            interrupt: Interrupt::default(),
        }
    }
}

/// How long a run may take unless it is told otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// Why there was no run, and so no report.
#[derive(Debug, Error)]
pub enum RunError {
    /// The description is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Something that the machine is made of can't be had, or QEMU can't be started.
    #[error("{0:#}")]
    Preparation(#[from] anyhow::Error),
}

/// Composes the machine, runs it to its end and judges it.
pub fn run(options: &RunOptions, progress: &Progress) -> Result<Report, RunError> {
    let (report, _) = attend(options, progress, |_| Ok(()))?;
    Ok(report)
}

/// Runs a machine as [`run`] does, with `script` at its console: in a thread of its own, from
/// QEMU's start on. When the script returns, the machine runs on; when it fails, the run ends.
pub fn attend<T: Send>(
    options: &RunOptions,
    progress: &Progress,
    script: impl FnOnce(Operator) -> Result<T> + Send,
) -> Result<(Report, Result<T>), RunError> {
    let description = Description::load(&options.config, &options.overrides)?;
    let folder = RunFolder::take(&log_folder(options))?;
    // A machine that QEMU does not know is refused before anything is downloaded or built for it.
    host_tools::ensure(host_tools::MACHINE, progress)?;
    let bare_tree = bare_tree(&description, &folder)?;
    let parts = Parts::get(&description, progress)?;
    let (mut machine, tokens) = compose(&description, &bare_tree, &parts, &folder, progress)?;
    machine.extend(options.qemu_arguments.iter().cloned());
    // What has a shell until somebody ends it may be ended in any way.
    let shells = description
        .guests
        .iter()
        .filter(|guest| guest.work == Work::Shell);
    let may_restart: Vec<_> = shells
        .map(|guest| guest.name.clone())
        .chain(options.may_restart.iter().cloned())
        .collect();
    let trace = Trace::new(
        description
            .guests
            .iter()
            .zip(&tokens)
            .map(|(guest, token)| (guest.name.clone(), token.clone())),
        &may_restart,
    );
    let origin = SystemTime::now();
    let silence = Progress::silent();
    let mut run = Run {
        description: &description,
        progress: if options.live { progress } else { &silence },
        began: Instant::now(),
        trace,
        splitter: Splitter::new(guest_names(&description)),
        logs: Logs::open(&folder, guest_names(&description))?,
        listener: None,
        socket: None,
        dismissal: Interrupt::default(),
    };
    let (end, attended) = run.carry_out(&machine, &folder, options, script)?;
    let seconds = run.began.elapsed().as_secs_f64();
    let report = report(
        &description,
        &folder,
        &run.trace,
        end,
        origin,
        seconds,
        &parts,
    );
    Ok((report, attended))
}

fn guest_names(description: &Description) -> impl Iterator<Item = &str> {
    description.guests.iter().map(|guest| guest.name.as_str())
}

fn log_folder(options: &RunOptions) -> PathBuf {
    let logs = options.logs.clone();
    logs.unwrap_or_else(|| logs_of(&options.config))
}

/// The folder for the logs of a machine's run, unless another one is named.
pub fn logs_of(config: &Path) -> PathBuf {
    let name = config.file_stem().unwrap_or("machine".as_ref());
    checkout().join("target/runs").join(name)
}

/// The machine's device tree without guests in it.
fn bare_tree(description: &Description, folder: &RunFolder) -> Result<Vec<u8>, RunError> {
    match qemu::device_tree(&description.machine, &folder.machine_file(TREE_FILE)) {
        Ok(tree) => Ok(tree),
        Err(MachineError::Unknown(error)) => Err(error.into()),
        Err(error @ MachineError::Refused { .. }) => {
            let refuse = Refusals {
                file: &description.file,
            };
            Err(refuse
                .at(
                    "machine: cpu",
                    error.to_string(),
                    "Name a CPU model that `qemu-system-aarch64 -cpu help` lists and that has EL2 and EL3, such as cortex-a57, \
                     cortex-a72 or max.",
                )
                .into())
        }
    }
}

/// Makes everything that QEMU is started from. Returns QEMU's arguments and the token of each guest
/// that has a job.
fn compose(
    description: &Description,
    bare_tree: &[u8],
    parts: &Parts,
    folder: &RunFolder,
    progress: &Progress,
) -> Result<(Vec<OsString>, Vec<Option<String>>), RunError> {
    let hypervisor = match &description.machine.hypervisor {
        Some(path) => path.clone(),
        None => image::build(&description.machine.mediators, progress)?,
    };
    let hypervisor_file = folder.machine_file("hypervisor.bin");
    write(&hypervisor_file, &image::flat_image(&hypervisor)?)?;

    let mut tokens = Vec::new();
    for guest in &description.guests {
        tokens.push(match guest.work {
            Work::Job(_) => Some(random_token().context("no random numbers can be had")?),
            Work::Shell | Work::OwnInitramfs | Work::Payload(_) => None,
        });
    }
    let files = parts.guest_files(description, &tokens, folder, progress)?;
    for (guest, files) in description.guests.iter().zip(&files) {
        description.check_images(guest, &files.kernel, files.initramfs.as_deref())?;
    }
    let placement = Placement::of(&files)?;
    check_guest_memory(description, placement.modules_size())?;

    let tree_file = folder.machine_file(TREE_FILE);
    let tree = device_tree::compose(bare_tree, description, &files, &placement)
        .context("no device tree can be made")?;
    write(&tree_file, &tree)?;
    devices::make_images(description)?;
    let forwards: String = description
        .guests
        .iter()
        .flat_map(|guest| {
            let forwards = guest.devices.forwards();
            forwards.map(|it| format!("{} {} {}\n", guest.name, it.host, it.guest))
        })
        .collect();
    write(&folder.path().join(FORWARDS), forwards.as_bytes())?;
    let boot = Boot {
        firmware: parts.firmware(),
        hypervisor: &hypervisor_file,
        device_tree: &tree_file,
        placement: &placement,
        secure_log: &folder.secure_log(),
    };
    let mut arguments = qemu::arguments(&description.machine, boot);
    arguments.extend(devices::arguments(description));
    Ok((arguments, tokens))
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).with_context(|| format!("{} can't be written", path.display()))
}

/// A run under way.
struct Run<'a> {
    description: &'a Description,
    progress: &'a Progress,
    began: Instant,
    trace: Trace,
    splitter: Splitter,
    logs: Logs,
    /// Whoever attends the run, as long as they listen.
    listener: Option<Sender<Heard>>,
    /// Where other terminals reach the console.
    socket: Option<Socket>,
    /// Set when whoever attends the run wants no more of it.
    dismissal: Interrupt,
}

/// Bytes of UART0 and when they came.
type Piece = (Instant, Vec<u8>);

impl Run<'_> {
    /// Starts QEMU and follows its consoles to the end, with `script` as operator.
    fn carry_out<T: Send>(
        &mut self,
        arguments: &[OsString],
        folder: &RunFolder,
        options: &RunOptions,
        script: impl FnOnce(Operator) -> Result<T> + Send,
    ) -> Result<(End, Result<T>)> {
        let errors = File::create(folder.qemu_log()).context("QEMU's log can't be written")?;
        drop(fs::remove_file(folder.secure_log()));
        let step = self.progress.step("Running the machine");
        let _watch = options.interrupt.watch();
        self.began = Instant::now();
        let (mut qemu, keyboard, uart) = Qemu::start(arguments, errors)?;
        let keyboard = Keyboard::new(keyboard);
        let guests: Vec<_> = guest_names(self.description).collect();
        self.socket = Socket::listen(folder.path(), &guests, &keyboard)?;
        let operator = self.operator(keyboard);
        let dismissal = self.dismissal.clone();
        let ended = thread::scope(|scope| {
            let attended = scope.spawn(move || {
                let mut on_failure = DismissOnFailure(Some(dismissal));
                let attended = script(operator)?;
                on_failure.0 = None;
                Ok(attended)
            });
            let end = self.see_through(&mut qemu, uart, options);
            // The operator hears no more, and so comes to an end.
            self.listener = None;
            self.socket = None;
            qemu.kill();
            let attended = attended
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok((end?, attended))
        });
        drop(step);
        ended
    }

    fn operator(&mut self, keyboard: Keyboard) -> Operator {
        let (sender, heard) = mpsc::channel();
        self.listener = Some(sender);
        Operator::new(keyboard, heard, self.dismissal.clone())
    }

    fn see_through(
        &mut self,
        qemu: &mut Qemu,
        uart: ChildStdout,
        options: &RunOptions,
    ) -> Result<End> {
        let pieces = read_pieces(uart);
        let end = match self.follow(&pieces, options)? {
            Some(end) => {
                qemu.kill();
                end
            }
            None => wait(qemu)?,
        };
        // What was on its way when QEMU ended.
        for (at, bytes) in pieces {
            self.piece(at, &bytes)?;
        }
        let mut rest = Vec::new();
        self.splitter.finish(|line| rest.push(line));
        self.lines(Instant::now(), rest)?;
        Ok(end)
    }

    /// Takes what comes out of UART0. `None`: QEMU closed it, and so ends by itself.
    fn follow(&mut self, pieces: &Receiver<Piece>, options: &RunOptions) -> Result<Option<End>> {
        let mut failed = None;
        let mut all_off = None;
        loop {
            match pieces.recv_timeout(TICK) {
                Ok((at, bytes)) => self.piece(at, &bytes)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
            let now = Instant::now();
            let ran = now.duration_since(self.began);
            if options.interrupt.requested() {
                return Ok(Some(End::Interrupted));
            }
            if self.dismissal.requested() {
                return Ok(Some(End::Dismissed));
            }
            if let Some(name) = &options.until_off {
                let mut guests = self.trace.guests.iter();
                if guests.any(|guest| guest.off && guest.name == *name) {
                    return Ok(Some(End::GuestOff));
                }
            }
            let fatal = self
                .trace
                .failure()
                .filter(|&failure| options.until_off.is_none() || failure == Failure::Panic);
            if let Some(failure) = fatal {
                let since = *failed.get_or_insert(now);
                if now.duration_since(since) >= FAILURE_GRACE {
                    return Ok(Some(End::Failed(failure)));
                }
            }
            if self.trace.all_off {
                let since = *all_off.get_or_insert(now);
                if now.duration_since(since) >= POWER_OFF_LIMIT {
                    return Ok(Some(End::StillOn(POWER_OFF_LIMIT)));
                }
            }
            if self.trace.hypervisor_up.is_none() && ran >= HYPERVISOR_LIMIT {
                return Ok(Some(End::NoHypervisor(HYPERVISOR_LIMIT)));
            }
            if ran >= options.timeout {
                return Ok(Some(End::TimeLimit(options.timeout)));
            }
        }
    }

    /// Tells whoever attends the run; once they have gone, nobody.
    fn tell(&mut self, heard: Heard) {
        if let Some(listener) = &self.listener
            && listener.send(heard).is_err()
        {
            self.listener = None;
        }
    }

    fn piece(&mut self, at: Instant, bytes: &[u8]) -> Result<()> {
        if let Some(socket) = &self.socket {
            socket.show(bytes);
        }
        self.tell(Heard::Uart(bytes.to_vec()));
        let mut lines = Vec::new();
        self.splitter.feed(bytes, |line| lines.push(line));
        self.lines(at, lines)
    }

    fn lines(&mut self, at: Instant, lines: Vec<Line>) -> Result<()> {
        let at = at.saturating_duration_since(self.began);
        for line in lines {
            self.logs
                .write(&line)
                .context("a console's log can't be written")?;
            if let Some(event) = self.trace.line(at, line.source, &line.text()) {
                let text = self.describe(&event);
                self.progress
                    .say(&format!("[{:6.1} s] {text}", at.as_secs_f64()));
            }
            let said = Said {
                at,
                console: match line.source {
                    Source::Firmware => "firmware".to_owned(),
                    Source::Hypervisor => HYPERVISOR_TAG.to_owned(),
                    Source::Guest(index) => self.guest_name(index).to_owned(),
                },
                text: line.text(),
            };
            self.tell(Heard::Line(said));
        }
        Ok(())
    }

    fn guest_name(&self, index: usize) -> &str {
        let guest = self.description.guests.get(index);
        guest.map_or("?", |guest| guest.name.as_str())
    }

    fn describe(&self, event: &Event) -> String {
        let name = |index: usize| self.guest_name(index);
        match event {
            Event::HypervisorUp => "the hypervisor is up".to_owned(),
            Event::JobStarted(index) => format!("{}: runs its job", name(*index)),
            Event::JobEnded(index, status) => {
                format!("{}: its job ended with status {status}", name(*index))
            }
            Event::Guest(index, news) => format!("{}: {news}", name(*index)),
            Event::Warning(message) => format!("warning: {message}"),
            Event::Panic(message) => format!("the hypervisor panicked: {message}"),
        }
    }
}

/// Ends the run when it is dropped: the operator failed, or panicked.
struct DismissOnFailure(Option<Interrupt>);

impl Drop for DismissOnFailure {
    fn drop(&mut self) {
        if let Some(dismissal) = &self.0 {
            dismissal.request();
        }
    }
}

/// Reads UART0 in a thread of its own, so that the limits hold while it is silent.
fn read_pieces(mut uart: ChildStdout) -> Receiver<Piece> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = uart.read(&mut buffer) {
            let bytes = buffer.get(..count).unwrap_or_default().to_vec();
            if sender.send((Instant::now(), bytes)).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Waits for a QEMU that has closed its console.
fn wait(qemu: &mut Qemu) -> Result<End> {
    let since = Instant::now();
    while since.elapsed() < POWER_OFF_LIMIT {
        if let Some(status) = qemu.try_wait().context("QEMU was lost")? {
            return Ok(End::Exited(status.code()));
        }
        thread::sleep(Duration::from_millis(10));
    }
    qemu.kill();
    Ok(End::StillOn(POWER_OFF_LIMIT))
}

fn report(
    description: &Description,
    folder: &RunFolder,
    trace: &Trace,
    end: End,
    origin: SystemTime,
    seconds: f64,
    parts: &Parts,
) -> Report {
    let result = RunResult::of(trace, end);
    let seen = |console: &str, line: String| LastSeen {
        console: console.to_owned(),
        line,
    };
    Report {
        summary: result.text(),
        result,
        seconds,
        guests: description
            .guests
            .iter()
            .zip(&trace.guests)
            .map(|(guest, trace)| {
                GuestReport::new(trace, &guest.work, folder.guest_log(&guest.name), origin)
            })
            .collect(),
        machine: MachineReport::new(description),
        versions: parts.versions().clone(),
        warnings: trace.warnings.clone(),
        logs: folder.path().to_owned(),
        last_seen: vec![
            seen("qemu", last_line(&folder.qemu_log())),
            seen("firmware", trace.firmware_last.clone()),
            seen("secure world", last_line(&folder.secure_log())),
            seen("bulkhead", trace.hypervisor_last.clone()),
        ],
    }
}
