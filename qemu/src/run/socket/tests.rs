//! Terminals at the console of a run, some of which misbehave. `cat` stands for UART0.

use std::io::BufRead as _;
use std::process::{Child, ChildStdout, Command, Stdio};

use tempfile::TempDir;

use super::*;

/// A run, as far as its console goes.
struct Bench {
    folder: TempDir,
    socket: Shown,
    uart: BufReader<ChildStdout>,
    child: Child,
}

/// The socket, until the run ends.
struct Shown(Option<Socket>);

impl Shown {
    fn show(&self, bytes: &[u8]) {
        self.0.as_ref().unwrap().show(bytes);
    }

    /// The run ends.
    fn take(&mut self) {
        self.0 = None;
    }
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let keyboard = Keyboard::new(child.stdin.take().unwrap());
        let uart = BufReader::new(child.stdout.take().unwrap());
        let socket = Socket::listen(folder.path(), &["vm1"], &keyboard);
        Self {
            socket: Shown(socket.unwrap()),
            folder,
            uart,
            child,
        }
    }

    /// A terminal, and the line that it got.
    fn call(&self) -> (BufReader<UnixStream>, String) {
        let (stream, greeting) = call(self.folder.path()).unwrap();
        let timeout = Some(5 * PATIENCE);
        stream.get_ref().set_read_timeout(timeout).unwrap();
        (stream, greeting)
    }

    /// A terminal that has the console, once whoever had it is gone.
    fn sit_down(&self) -> BufReader<UnixStream> {
        for _ in 0..200 {
            let (stream, greeting) = self.call();
            if greeting != BUSY {
                assert_eq!(greeting, "bulkhead console of vm1");
                return stream;
            }
            thread::sleep(AGAIN);
        }
        panic!("the console is not given to anybody");
    }

    /// What UART0 got, up to a line's end.
    fn typed(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        self.uart.read_until(b'\n', &mut line).unwrap();
        line
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn line(stream: &mut BufReader<UnixStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line
}

#[test]
fn one_terminal_at_a_time_has_the_console() {
    let mut bench = Bench::new();
    let mut first = bench.sit_down();
    let (mut second, greeting) = bench.call();
    assert_eq!(greeting, BUSY);
    assert_eq!(line(&mut second), "", "it is let go");
    bench.socket.show(b"hello\n");
    assert_eq!(line(&mut first), "hello\n");
    first.get_mut().write_all(b"list\n").unwrap();
    assert_eq!(bench.typed(), b"list\n");
}

#[test]
fn who_comes_next_finds_the_prompt_before_it_types() {
    let mut bench = Bench::new();
    for _ in 0..50 {
        drop(bench.sit_down());
        let mut next = bench.sit_down();
        next.get_mut().write_all(b"list\n").unwrap();
        let typed = bench.typed();
        assert!(typed.ends_with(&[&[DETACH][..], b"list\n"].concat()));
    }
}

#[test]
fn a_terminal_that_does_not_read_holds_nobody_up() {
    let bench = Bench::new();
    let _stalled = bench.sit_down();
    let began = Instant::now();
    for _ in 0..2 * BACKLOG {
        bench.socket.show(&[b'x'; 1024]);
    }
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    // Another one gets the console while the first still holds its end.
    let mut next = bench.sit_down();
    bench.socket.show(b"\nhello\n");
    assert_eq!(line(&mut next), "\n");
    assert_eq!(line(&mut next), "hello\n");
}

#[test]
fn one_that_was_left_behind_types_no_more_and_takes_nothing_with_it() {
    let mut bench = Bench::new();
    let mut stalled = bench.sit_down();
    for _ in 0..2 * BACKLOG {
        bench.socket.show(&[b'x'; 1024]);
    }
    let mut next = bench.sit_down();
    drop(stalled.get_mut().write_all(b"destroy vm1\n"));
    drop(stalled);
    next.get_mut().write_all(b"list\n").unwrap();
    assert!(bench.typed().ends_with(b"list\n"));
    thread::sleep(4 * AGAIN);
    bench.socket.show(b"hello\n");
    assert_eq!(line(&mut next), "hello\n", "it still has the console");
}

#[test]
fn what_was_said_last_arrives_and_the_end_waits_for_nobody() {
    for reads in [true, false] {
        let mut bench = Bench::new();
        let mut terminal = bench.sit_down();
        for _ in 0..BACKLOG / 2 {
            bench.socket.show(b"line\n");
        }
        bench.socket.show(b"the end\n");
        let reader = reads.then(|| {
            thread::spawn(move || {
                let mut said = String::new();
                terminal.read_to_string(&mut said).unwrap();
                said
            })
        });
        let began = Instant::now();
        bench.socket.take();
        assert!(began.elapsed() < 2 * PATIENCE);
        assert!(!is_there(bench.folder.path()), "the socket is gone");
        if let Some(reader) = reader {
            let said = reader.join().unwrap();
            assert!(said.ends_with("the end\n"), "{said:?}");
        }
    }
}

#[test]
fn a_machine_is_there_whoever_is_at_its_console() {
    let bench = Bench::new();
    assert!(is_there(bench.folder.path()));
    let _terminal = bench.sit_down();
    assert!(is_there(bench.folder.path()));
    let elsewhere = tempfile::tempdir().unwrap();
    assert!(!is_there(elsewhere.path()));
    // Of a run that was killed.
    drop(UnixListener::bind(elsewhere.path().join(NAME)).unwrap());
    assert!(!is_there(elsewhere.path()));
    let mut cat = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let keyboard = Keyboard::new(cat.stdin.take().unwrap());
    let socket = Socket::listen(elsewhere.path(), &[], &keyboard).unwrap();
    assert!(socket.is_some() && is_there(elsewhere.path()));
    cat.kill().unwrap();
    cat.wait().unwrap();
}
