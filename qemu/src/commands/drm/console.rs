//! What a player says on its guest's console (`workloads/drm-playback/src/main.rs`), and what the
//! hypervisor counted meanwhile.

use host_abi::console::Event;

/// What the mediator counted for a guest so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// SMCs that the guest issued to the TEE.
    smcs: u64,
    /// Commands that OP-TEE had for the guest.
    rpcs: u64,
}

impl Counters {
    /// Reads a line of the prompt's `stats`: which guest it is about, and what was counted. `None`
    /// is another line.
    pub(super) fn read(line: &str) -> Option<(&str, Self)> {
        let Event::Tee { name, stats } = Event::parse(line) else {
            return None;
        };
        let counters = Self {
            smcs: stats.smcs(),
            rpcs: stats.rpcs,
        };
        Some((name, counters))
    }
}

/// What a player has said so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Player {
    /// The streams that it has played, and what it says about each, as names and values.
    pub(super) streams: Vec<Stream>,
    /// Calls that failed.
    pub(super) errors: Vec<String>,
    /// Whether the next count is before a stream or after it.
    waiting: Option<Moment>,
    before: Option<Counters>,
    after: Option<Counters>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Before,
    After,
}

/// A stream that was played.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stream {
    /// Its name.
    pub(super) name: String,
    fields: Vec<(String, String)>,
    /// SMCs and RPCs from the first frame to the last of those that came in at the stream's rate.
    pub(super) calls: Option<(u64, u64)>,
}

impl Stream {
    /// What is said under this name.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(field, _)| field == name);
        field.map(|(_, value)| value.as_str())
    }

    /// The same as a number.
    pub(super) fn number(&self, name: &str) -> Option<f64> {
        self.field(name)?.parse().ok()
    }
}

impl Player {
    /// Takes a line of the guest's console. `true` if the player waits for the hypervisor's
    /// counters to be looked at.
    pub(super) fn line(&mut self, line: &str) -> bool {
        let Some((kind, rest)) = line
            .strip_prefix("drm ")
            .and_then(|line| line.trim_end().split_once(' '))
        else {
            return false;
        };
        match kind {
            "begin" => {
                (self.before, self.after) = (None, None);
                self.waiting = Some(Moment::Before);
                return true;
            }
            "end" => {
                self.waiting = Some(Moment::After);
                return true;
            }
            "error" => self.errors.push(rest.to_owned()),
            "result" => {
                let mut words = rest.split(' ');
                let name = words.next().unwrap_or_default().to_owned();
                let fields = words
                    .filter_map(|word| word.split_once('='))
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect();
                let calls = self.before.zip(self.after).and_then(|(before, after)| {
                    let smcs = after.smcs.checked_sub(before.smcs)?;
                    Some((smcs, after.rpcs.checked_sub(before.rpcs)?))
                });
                self.streams.push(Stream {
                    name,
                    fields,
                    calls,
                });
            }
            _ => {}
        }
        false
    }

    /// Takes what the hypervisor has counted for the guest. What it was not asked for is left
    /// alone.
    pub(super) fn counted(&mut self, counters: Counters) {
        match self.waiting.take() {
            Some(Moment::Before) => self.before = Some(counters),
            Some(Moment::After) => self.after = Some(counters),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(invokes: u64, rpcs: u64) -> String {
        format!(
            "vm1: TEE: calls: 5 fast, 1 open, {invokes} invoke, 0 close, 2 register, 3 unregister, 4 other; {rpcs} RPCs, \
             7 foreign interrupts, 2 pauses, 9 notifications, 11 paced, 0 opens denied, 0 instances refused, 0 refused; 900 bytes copied, 30 entries \
             translated; now 3 buffers, 40 pages, 0 calls in flight"
        )
    }

    const RESULT: &str =
        "drm result 1080p30 scheme=cenc frames=180 wrong=0 p99_us=250 saturated_fps=812.5";

    #[test]
    fn smcs_are_calls_and_returns() {
        let line = stats(100, 50);
        let (guest, counters) = Counters::read(&line).unwrap();
        assert_eq!(guest, "vm1");
        let smcs = 5 + 1 + 100 + 2 + 3 + 4 + 50 + 7 + 2;
        assert_eq!(counters, Counters { smcs, rpcs: 50 });
        for line in [
            "vm1: 1 starts, 0 calls refused, 3 forwarded, 40 pages known to the secure world",
            "vm1: off",
            "vm1: TEE: calls: many fast; now 3 buffers",
        ] {
            assert_eq!(Counters::read(line), None, "{line}");
        }
    }

    #[test]
    fn a_stream_has_what_was_counted_between_its_marks() {
        let mut player = Player::default();
        let count = |player: &mut Player, invokes, rpcs| {
            player.counted(Counters::read(&stats(invokes, rpcs)).unwrap().1);
        };
        count(&mut player, 1, 1);
        assert!(player.line("drm begin 1080p30"));
        count(&mut player, 100, 50);
        // Another guest asked.
        count(&mut player, 120, 50);
        assert!(player.line("drm end 1080p30"));
        count(&mut player, 250, 56);
        assert!(!player.line(RESULT));
        let stream = &player.streams[0];
        assert_eq!(stream.name, "1080p30");
        assert_eq!(stream.calls, Some((156, 6)));
        assert_eq!(stream.field("scheme"), Some("cenc"));
        assert_eq!(stream.number("saturated_fps"), Some(812.5));
        assert_eq!(stream.number("missing"), None);
    }

    #[test]
    fn what_was_not_counted_is_not_made_up() {
        let mut player = Player::default();
        player.line("drm begin 1080p30");
        player.counted(Counters::read(&stats(100, 50)).unwrap().1);
        player.line("drm end 1080p30");
        player.line(RESULT);
        assert_eq!(player.streams[0].calls, None);
        // Nor is the next one's count that of this one.
        player.line("drm begin 2160p60");
        player.line(RESULT);
        assert_eq!(player.streams[1].calls, None);
    }

    #[test]
    fn other_lines_are_left_alone() {
        let mut player = Player::default();
        for line in [
            "",
            "drm",
            "drm begin",
            "drama begins here",
            "drm trial passed x",
        ] {
            assert!(!player.line(line), "{line}");
        }
        assert_eq!(player, Player::default());
        player.line("drm error 1080p30: result 0xffff0008 of origin 4");
        assert_eq!(player.errors, ["1080p30: result 0xffff0008 of origin 4"]);
    }
}
