//! What came of the streams in all guests: a table and JSON (docs/drm.md).

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::console::{Player, Stream};
use crate::base::table::{Last, table};
use crate::run::report::{GuestReport, Report};

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct DrmReport {
    /// The guests that played.
    pub guests: Vec<GuestStreams>,
    /// Whether every frame came out right in each of them, no call failed, and the machine did as
    /// it should.
    pub passed: bool,
    /// OP-TEE: which one, and how it was built.
    pub optee: Option<String>,
    /// What came of the machine.
    #[serde(skip)]
    machine: String,
    /// The tool's exit status.
    #[serde(skip)]
    pub exit_status: u8,
}

/// What came of it in one guest.
#[derive(Clone, Debug, Serialize)]
pub struct GuestStreams {
    /// Its name.
    pub name: String,
    /// `passed`, or what went wrong.
    pub result: String,
    /// Calls that failed.
    pub errors: Vec<String>,
    /// The streams, in the order of playing.
    pub streams: Vec<StreamReport>,
}

/// A stream in one guest. All times are by the guest's clock. What was not measured is null.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StreamReport {
    /// Its title, and what is said about its buffers.
    pub name: String,
    /// `cenc` or `cbcs`.
    pub scheme: Option<String>,
    /// Frames a second.
    pub rate: Option<f64>,
    /// Bits a second.
    pub bit_rate: Option<f64>,
    /// Bytes of the largest frame.
    pub largest_frame: Option<f64>,
    /// Frames that were played.
    pub frames: Option<f64>,
    /// Frames that came out other than they should.
    pub wrong: Option<f64>,
    /// Calls that failed.
    pub errors: Option<f64>,
    /// The latency that half of the frames at the stream's rate did not exceed, in microseconds.
    pub p50_us: Option<f64>,
    /// The same for 99 of 100.
    pub p99_us: Option<f64>,
    /// The longest.
    pub worst_us: Option<f64>,
    /// Frames at the stream's rate.
    pub paced_frames: Option<f64>,
    /// Of these, those that were not there an interval after they came in.
    pub missed: Option<f64>,
    /// That interval, in microseconds.
    pub deadline_us: Option<f64>,
    /// Frames a second that can be decrypted.
    pub saturated_fps: Option<f64>,
    /// SMCs to the TEE for each frame.
    pub smcs_per_frame: Option<f64>,
    /// Commands that OP-TEE had for the guest for each frame.
    pub rpcs_per_frame: Option<f64>,
}

impl StreamReport {
    fn new(stream: &Stream) -> Self {
        let paced = stream.number("paced").filter(|frames| *frames > 0.0);
        let per_frame = |count: u64| paced.map(|frames| count as f64 / frames);
        Self {
            name: stream.name.clone(),
            scheme: stream.field("scheme").map(str::to_owned),
            rate: stream.number("rate"),
            bit_rate: stream.number("bit_rate"),
            largest_frame: stream.number("largest"),
            frames: stream.number("frames"),
            wrong: stream.number("wrong"),
            errors: stream.number("errors"),
            p50_us: stream.number("p50_us"),
            p99_us: stream.number("p99_us"),
            worst_us: stream.number("worst_us"),
            paced_frames: paced,
            missed: stream.number("missed"),
            deadline_us: stream.number("rate").map(|rate| (1e6 / rate).round()),
            saturated_fps: stream.number("saturated_fps"),
            smcs_per_frame: stream.calls.and_then(|(smcs, _)| per_frame(smcs)),
            rpcs_per_frame: stream.calls.and_then(|(_, rpcs)| per_frame(rpcs)),
        }
    }

    /// Whether frames were played, and all as they should.
    fn is_right(&self) -> bool {
        self.frames.is_some_and(|frames| frames > 0.0)
            && self.wrong == Some(0.0)
            && self.errors == Some(0.0)
    }
}

impl GuestStreams {
    fn new(guest: &GuestReport, player: &Player) -> Self {
        let streams: Vec<_> = player.streams.iter().map(StreamReport::new).collect();
        let result = if !player.errors.is_empty() || !streams.iter().all(StreamReport::is_right) {
            "frames came out wrong, or calls failed".to_owned()
        } else if !guest.passed {
            guest.result.clone()
        } else if streams.is_empty() {
            "nothing was played".to_owned()
        } else {
            "passed".to_owned()
        };
        Self {
            name: guest.name.clone(),
            result,
            errors: player.errors.clone(),
            streams,
        }
    }

    fn passed(&self) -> bool {
        self.result == "passed"
    }
}

impl DrmReport {
    /// From the machine's report and what each guest's player said.
    pub(super) fn new(report: &Report, players: BTreeMap<String, Player>) -> Self {
        let guests: Vec<_> = players
            .iter()
            .filter_map(|(name, player)| Some(GuestStreams::new(report.guest(name)?, player)))
            .collect();
        let machine_passed = report.result.exit_status() == 0;
        let passed = machine_passed && guests.iter().all(GuestStreams::passed);
        Self {
            guests,
            passed,
            optee: report.versions.optee.as_ref().map(|optee| {
                let version = optee.version.as_deref().unwrap_or("of unknown version");
                format!("{version}, {}", optee.from)
            }),
            machine: format!(
                "{} ({:.1} s; logs in {})",
                report.summary,
                report.seconds,
                report.logs.display()
            ),
            exit_status: match report.result.exit_status() {
                0 => u8::from(!passed),
                status => status,
            },
        }
    }
}

impl fmt::Display for DrmReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = [
            "guest", "stream", "scheme", "frames", "wrong", "errors", "p50 ms", "p99 ms",
            "worst ms", "deadline", "missed", "max fps", "SMCs", "RPCs",
        ];
        let mut rows = vec![head.map(str::to_owned)];
        for guest in &self.guests {
            for stream in &guest.streams {
                rows.push([
                    guest.name.clone(),
                    stream.name.clone(),
                    stream.scheme.clone().unwrap_or_else(none),
                    shown(stream.frames, 0),
                    shown(stream.wrong, 0),
                    shown(stream.errors, 0),
                    shown(stream.p50_us.map(milliseconds), 2),
                    shown(stream.p99_us.map(milliseconds), 2),
                    shown(stream.worst_us.map(milliseconds), 2),
                    shown(stream.deadline_us.map(milliseconds), 1),
                    shown(stream.missed, 0),
                    shown(stream.saturated_fps, 1),
                    shown(stream.smcs_per_frame, 2),
                    shown(stream.rpcs_per_frame, 2),
                ]);
            }
        }
        table(formatter, &rows, Last::Number)?;
        writeln!(
            formatter,
            "\nSMCs and RPCs are for each frame. Times are those of emulation, by the guests' clocks."
        )?;
        for guest in &self.guests {
            for error in &guest.errors {
                writeln!(formatter, "{}: {error}", guest.name)?;
            }
            if !guest.passed() {
                writeln!(formatter, "{}: {}", guest.name, guest.result)?;
            }
        }
        if let Some(optee) = &self.optee {
            writeln!(formatter, "OP-TEE {optee}")?;
        }
        writeln!(formatter, "\n{}", self.machine)
    }
}

fn milliseconds(microseconds: f64) -> f64 {
    microseconds / 1000.0
}

fn shown(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(none, |value| format!("{value:.digits$}"))
}

fn none() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json::write_json;
    use host_abi::console::{TeeCalls, TeeStats};
    use std::fs;

    const RIGHT: &str = "drm result 2160p60 scheme=cbcs rate=60 bit_rate=16800000 largest=286720 frames=360 wrong=0 errors=0 \
                         paced=300 missed=2 p50_us=900 p99_us=4100 worst_us=17000 saturated_fps=700.0";

    fn streams(guest: &GuestReport, lines: &[&str]) -> GuestStreams {
        let mut player = Player::default();
        for line in lines {
            player.line(line);
        }
        GuestStreams::new(guest, &player)
    }

    fn guest(passed: bool) -> GuestReport {
        GuestReport::of_test("vm1", passed)
    }

    #[test]
    fn only_right_frames_in_a_guest_that_passed_are_passed() {
        assert_eq!(streams(&guest(true), &[RIGHT]).result, "passed");
        assert_eq!(streams(&guest(true), &[]).result, "nothing was played");
        assert_eq!(streams(&guest(false), &[RIGHT]).result, "exit status 7");
        let wrong = "frames came out wrong, or calls failed";
        for line in [
            RIGHT.replace("wrong=0", "wrong=1"),
            RIGHT.replace("errors=0", "errors=1"),
            RIGHT.replace("frames=360", "frames=0"),
            RIGHT.replace("wrong=0 ", ""),
            "drm error 2160p60: result 0xffff000e of origin 3".to_owned(),
        ] {
            assert_eq!(
                streams(&guest(true), &[RIGHT, &line]).result,
                wrong,
                "{line}"
            );
        }
    }

    fn report(guests: Vec<GuestStreams>) -> DrmReport {
        DrmReport {
            passed: guests.iter().all(GuestStreams::passed),
            guests,
            optee: Some("4.10.0, source".to_owned()),
            machine: "passed".to_owned(),
            exit_status: 0,
        }
    }

    #[test]
    fn the_table_has_a_row_for_each_stream() {
        let text = report(vec![streams(&guest(true), &[RIGHT])]).to_string();
        let row = text.lines().nth(1).unwrap();
        let cells: Vec<_> = row.split_whitespace().collect();
        assert_eq!(
            cells,
            [
                "vm1", "2160p60", "cbcs", "360", "0", "0", "0.90", "4.10", "17.00", "16.7", "2",
                "700.0", "-", "-"
            ]
        );
    }

    #[test]
    fn what_failed_is_said() {
        let error = "drm error 2160p60: result 0xffff000e of origin 3";
        let text = report(vec![streams(&guest(true), &[RIGHT, error])]).to_string();
        assert!(
            text.contains("vm1: 2160p60: result 0xffff000e of origin 3"),
            "{text}"
        );
        assert!(text.contains("vm1: frames came out wrong"), "{text}");
    }

    #[test]
    fn the_file_has_null_for_what_was_not_measured() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/drm.json");
        write_json(&report(vec![streams(&guest(true), &[RIGHT])]), &path).unwrap();
        let json: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let stream = &json["guests"][0]["streams"][0];
        assert_eq!(stream["p99_us"], 4100.0);
        assert_eq!(stream["deadline_us"], 16667.0);
        assert!(stream["smcs_per_frame"].is_null());
        assert_eq!(json["passed"], true);
    }

    #[test]
    fn calls_are_counted_for_each_frame() {
        let mut player = Player::default();
        for (line, invokes, rpcs) in [("drm begin x", 10, 0), ("drm end x", 325, 15)] {
            player.line(line);
            let calls = TeeCalls {
                invoke_command: invokes,
                ..TeeCalls::default()
            };
            let stats = TeeStats {
                calls,
                rpcs,
                ..TeeStats::default()
            };
            let stats = format!("vm1: TEE: {stats}");
            let (_, counters) = super::super::console::Counters::read(&stats).unwrap();
            player.counted(counters);
        }
        player.line(RIGHT);
        let guest = GuestStreams::new(&guest(true), &player);
        assert_eq!(guest.streams[0].smcs_per_frame, Some(1.1));
        assert_eq!(guest.streams[0].rpcs_per_frame, Some(0.05));
    }
}
