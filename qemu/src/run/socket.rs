//! A machine's console for other terminals: a Unix socket in the folder of its run, as long as it
//! runs.
//!
//! Who connects gets a line with the guests' names, then the bytes of UART0 as they come; what it
//! sends is typed. One at a time: another one gets a line that says so. When it goes, the console
//! is at the hypervisor's prompt again.

use std::io::{self, BufRead as _, BufReader, Read as _, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ChildStdin;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::base::interrupt::Interrupt;
use crate::run::console::{HYPERVISOR_TAG, Line, Source, Splitter};
use crate::run::operator::{DETACH, Heard, Operator, Said};

/// The socket's name in the folder.
const NAME: &str = "console.sock";
/// What the first line begins with, where the console is to be had.
const GREETING: &str = "bulkhead console of";
/// The first line where it is not.
const BUSY: &str = "another terminal is at this machine's console";
/// For a terminal that does not read, which is left behind then, and for one that is about to go.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pieces of output that a terminal may be behind.
const BACKLOG: usize = 4096;
/// How often one that is busy is asked again.
const AGAIN: Duration = Duration::from_millis(50);

/// What is typed at UART0, by whoever attends the run and by other terminals.
#[derive(Clone)]
pub(crate) struct Keyboard(Arc<Mutex<ChildStdin>>);

impl Keyboard {
    pub(crate) fn new(uart: ChildStdin) -> Self {
        Self(Arc::new(Mutex::new(uart)))
    }
}

impl Write for Keyboard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut uart = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uart.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut uart = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uart.flush()
    }
}

/// Who is at the console.
struct Seat {
    stream: UnixStream,
    /// What is on its way to it; nothing once it was left behind.
    output: Option<SyncSender<Vec<u8>>>,
    /// Its writer has come to the end.
    written: Receiver<()>,
}

impl Seat {
    fn take(stream: UnixStream) -> io::Result<Self> {
        let (output, waiting) = mpsc::sync_channel::<Vec<u8>>(BACKLOG);
        let (done, written) = mpsc::channel();
        let mut writer = stream.try_clone()?;
        thread::spawn(move || {
            let all = waiting.iter().all(|bytes| writer.write_all(&bytes).is_ok());
            if !all {
                drop(writer.shutdown(Shutdown::Both));
            }
            // Nobody waits for it unless the run ends.
            let _ = done.send(());
        });
        Ok(Self {
            stream,
            output: Some(output),
            written,
        })
    }

    /// Never waits: a machine does not stand still for a terminal.
    fn show(&mut self, bytes: &[u8]) {
        let behind = self
            .output
            .as_ref()
            .is_some_and(|output| output.try_send(bytes.to_vec()).is_err());
        if behind {
            self.output = None;
            drop(self.stream.shutdown(Shutdown::Both));
        }
    }

    /// The run ends: what was said last still arrives.
    fn end(mut self) {
        self.output = None;
        let _ = self.written.recv_timeout(PATIENCE);
        drop(self.stream.shutdown(Shutdown::Both));
    }
}

type Visitor = Arc<Mutex<Option<Seat>>>;

fn lock(visitor: &Visitor) -> std::sync::MutexGuard<'_, Option<Seat>> {
    visitor.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The socket; it goes when this is dropped.
pub(crate) struct Socket {
    path: PathBuf,
    visitor: Visitor,
}

impl Socket {
    /// Listens in `folder`. `None` where a socket can't have such a path, which is too long.
    pub(crate) fn listen(
        folder: &Path,
        guests: &[&str],
        keyboard: &Keyboard,
    ) -> Result<Option<Self>> {
        /// What `sun_path` has room for, with the zero at its end.
        const PATH_MAX: usize = 108;
        let path = folder.join(NAME);
        if path.as_os_str().len() >= PATH_MAX {
            return Ok(None);
        }
        // Of a run that was killed: this one holds the folder.
        drop(std::fs::remove_file(&path));
        let listener = UnixListener::bind(&path)
            .with_context(|| format!("{} can't be made", path.display()))?;
        let greeting = format!("{GREETING} {}\n", guests.join(" "));
        let visitor = Visitor::default();
        let (seat, keyboard) = (visitor.clone(), keyboard.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seat, keyboard) = (seat.clone(), keyboard.clone());
                let greeting = greeting.clone();
                thread::spawn(move || welcome(stream, &greeting, &seat, keyboard));
            }
        });
        Ok(Some(Self { path, visitor }))
    }

    /// Passes on what came out of UART0.
    pub(crate) fn show(&self, bytes: &[u8]) {
        if let Some(seat) = lock(&self.visitor).as_mut() {
            seat.show(bytes);
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path));
        let seat = lock(&self.visitor).take();
        if let Some(seat) = seat {
            seat.end();
        }
    }
}

/// Gives the console to who connected, until it goes.
fn welcome(mut stream: UnixStream, greeting: &str, visitor: &Visitor, mut keyboard: Keyboard) {
    let Ok(reader) = stream.try_clone() else {
        return;
    };
    drop(stream.set_write_timeout(Some(PATIENCE)));
    {
        let mut seat = lock(visitor);
        let line = if seat.is_some() {
            BUSY
        } else {
            greeting.trim_end()
        };
        let told = stream.write_all(format!("{line}\n").as_bytes());
        if told.is_err() || seat.is_some() {
            return;
        }
        let Ok(taken) = Seat::take(stream) else {
            return;
        };
        *seat = Some(taken);
    }
    let mut reader = BufReader::new(reader);
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = reader.read(&mut buffer) {
        let typed = buffer.get(..count).unwrap_or_default();
        if keyboard
            .write_all(typed)
            .and_then(|()| keyboard.flush())
            .is_err()
        {
            break;
        }
    }
    // The next one finds the prompt.
    drop(
        keyboard
            .write_all(&[DETACH])
            .and_then(|()| keyboard.flush()),
    );
    *lock(visitor) = None;
}

/// The console of the machine whose run writes to `folder`, with the names of its guests.
///
/// # Errors
///
/// No machine runs there, or another terminal is at its console.
pub fn connect(folder: &Path) -> Result<(Vec<String>, Operator)> {
    let until = Instant::now() + PATIENCE;
    loop {
        let (stream, greeting) = call(folder)?;
        // Who was there before may be about to go.
        if greeting == BUSY && Instant::now() < until {
            thread::sleep(AGAIN);
            continue;
        }
        let Some(guests) = greeting.strip_prefix(GREETING) else {
            bail!("{greeting}");
        };
        let guests: Vec<String> = guests.split_whitespace().map(str::to_owned).collect();
        let keyboard = Typist(stream.get_ref().try_clone()?);
        let heard = hear(stream, guests.clone());
        return Ok((guests, Operator::new(keyboard, heard, Interrupt::default())));
    }
}

/// Whether a machine runs whose run writes to `folder`, whoever is at its console.
#[must_use]
pub fn is_there(folder: &Path) -> bool {
    UnixStream::connect(folder.join(NAME)).is_ok()
}

/// Connects, and reads the first line.
fn call(folder: &Path) -> Result<(BufReader<UnixStream>, String)> {
    let path = folder.join(NAME);
    let stream = UnixStream::connect(&path).with_context(|| {
        format!(
            "no machine runs with its logs in {}: start one with `run`, or name its --logs or --config",
            folder.display()
        )
    })?;
    let mut stream = BufReader::new(stream);
    let mut greeting = String::new();
    stream.read_line(&mut greeting)?;
    if greeting.is_empty() {
        bail!("the machine went off");
    }
    greeting.truncate(greeting.trim_end().len());
    Ok((stream, greeting))
}

/// The way to the machine, which is given up when this is dropped.
struct Typist(UnixStream);

impl Write for Typist {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Drop for Typist {
    fn drop(&mut self) {
        // It fails only if the machine is gone.
        drop(self.0.shutdown(Shutdown::Both));
    }
}

/// Takes what comes apart, in a thread of its own.
fn hear(mut reader: BufReader<UnixStream>, guests: Vec<String>) -> Receiver<Heard> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let began = Instant::now();
        let mut splitter = Splitter::new(guests.iter().map(String::as_str));
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            let bytes = buffer.get(..count).unwrap_or_default();
            let mut heard = vec![Heard::Uart(bytes.to_vec())];
            splitter.feed(bytes, |line: Line| {
                let console = match line.source {
                    Source::Firmware => "firmware",
                    Source::Hypervisor => HYPERVISOR_TAG,
                    Source::Guest(index) => guests.get(index).map_or("?", String::as_str),
                };
                heard.push(Heard::Line(Said {
                    at: began.elapsed(),
                    console: console.to_owned(),
                    text: line.text(),
                }));
            });
            if heard.into_iter().any(|heard| sender.send(heard).is_err()) {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests;
