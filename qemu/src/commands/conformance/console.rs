//! What a payload says on its guest's console (`guest-shim/src/lib.rs`).

/// A case that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The requirement that it checks.
    pub requirement: u8,
    /// Its name.
    pub name: String,
    /// Why it failed; `None` if it passed.
    pub reason: Option<String>,
}

/// A payload's run through its cases; a guest that restarts itself has several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// The cases that it has.
    pub plan: usize,
    /// Those that ended.
    pub ended: Vec<Ended>,
    /// The case that runs.
    pub running: Option<(u8, String)>,
    /// Those that passed and those that failed, as counted by the payload at its end.
    pub done: Option<(usize, usize)>,
}

impl Life {
    /// Whether all cases ran and the payload counted as we did.
    ///
    /// # Errors
    ///
    /// Says what is missing.
    pub fn complete(&self) -> Result<(), String> {
        if let Some((_, name)) = &self.running {
            return Err(format!("{name} did not end"));
        }
        let failed = self.ended.iter().filter(|case| case.reason.is_some());
        let failed = failed.count();
        let counted = (self.ended.len() - failed, failed);
        match self.done {
            None => Err(format!(
                "it stopped after {} of {} cases",
                self.ended.len(),
                self.plan
            )),
            Some(_) if self.ended.len() != self.plan => Err(format!(
                "{} of {} cases were reported",
                self.ended.len(),
                self.plan
            )),
            Some(done) if done != counted => Err(format!(
                "it counted {done:?} cases that passed and failed, and {counted:?} were reported"
            )),
            Some(_) => Ok(()),
        }
    }
}

/// A figure that a payload measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// The value with its unit.
    pub value: String,
}

/// All that a payload said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Console {
    /// Its lives, the first one first.
    pub lives: Vec<Life>,
    /// The digest of what it was answered.
    pub answers: Option<String>,
    /// A random number that it drew.
    pub draw: Option<String>,
    /// What it measured.
    pub figures: Vec<Figure>,
    /// Why it could not go on.
    pub panic: Option<String>,
    /// What it could reach although it should not.
    pub survived: Option<String>,
}

impl Console {
    /// Reads a guest's log.
    pub fn read(log: &str) -> Self {
        let mut console = Self::default();
        for line in log.lines() {
            console.line(line.trim_end());
        }
        console
    }

    fn line(&mut self, line: &str) {
        let Some((word, rest)) = line.strip_prefix("@@").and_then(|l| l.split_once(' ')) else {
            return;
        };
        match word {
            "answers" => self.answers = Some(rest.to_owned()),
            "draw" => self.draw = Some(rest.to_owned()),
            "panic" => self.panic = Some(rest.to_owned()),
            "survived" => self.survived = Some(rest.to_owned()),
            "figure" => {
                let (name, value) = rest.split_once(' ').unwrap_or((rest, ""));
                self.figures.push(Figure {
                    name: name.to_owned(),
                    value: value.to_owned(),
                });
            }
            "plan" => self.lives.push(Life {
                plan: rest.parse().unwrap_or_default(),
                ..Life::default()
            }),
            _ => {
                if let Some(life) = self.lives.last_mut() {
                    life.line(word, rest);
                }
            }
        }
    }
}

impl Life {
    fn line(&mut self, word: &str, rest: &str) {
        match word {
            "run" => {
                self.running = rest.split_once(' ').and_then(|(requirement, name)| {
                    Some((requirement.parse().ok()?, name.to_owned()))
                });
            }
            "case" => {
                let Some(case) = Ended::parse(rest) else {
                    return;
                };
                self.running = None;
                self.ended.push(case);
            }
            "done" => self.done = parse_counts(rest),
            _ => {}
        }
    }
}

impl Ended {
    fn parse(rest: &str) -> Option<Self> {
        let mut words = rest.splitn(4, ' ');
        let requirement = words.next()?.parse().ok()?;
        let name = words.next()?.to_owned();
        let reason = match words.next()? {
            "pass" => None,
            "fail" => Some(words.next().unwrap_or("no reason given").to_owned()),
            _ => return None,
        };
        Some(Self {
            requirement,
            name,
            reason,
        })
    }
}

fn parse_counts(rest: &str) -> Option<(usize, usize)> {
    let (passed, failed) = rest.split_once(' ')?;
    Some((
        passed.strip_prefix("passed=")?.parse().ok()?,
        failed.strip_prefix("failed=")?.parse().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "boot\n@@answers 12ab\r\n@@draw 77\n@@plan 2\n@@run 3 first\n@@case 3 first pass\n\
        @@run 8 second\nother text\n@@case 8 second fail it is 1, not 2\n@@figure cost 137 instructions\n\
        @@done passed=1 failed=1\n";

    fn life(text: &str) -> Life {
        Console::read(text).lives.remove(0)
    }

    #[test]
    fn everything_is_read() {
        let console = Console::read(WHOLE);
        assert_eq!(console.answers.as_deref(), Some("12ab"));
        assert_eq!(console.draw.as_deref(), Some("77"));
        assert_eq!(console.figures[0].value, "137 instructions");
        let [life] = console.lives.as_slice() else {
            panic!("{console:?}")
        };
        assert_eq!(life.complete(), Ok(()));
        assert_eq!(life.ended[0].reason, None);
        assert_eq!(life.ended[1].requirement, 8);
        assert_eq!(life.ended[1].reason.as_deref(), Some("it is 1, not 2"));
    }

    #[test]
    fn a_case_that_hangs_is_named() {
        let hung = life("@@plan 2\n@@run 3 first\n@@case 3 first pass\n@@run 8 second\n");
        assert!(hung.complete().unwrap_err().contains("second did not end"));
    }

    #[test]
    fn a_missing_end_or_case_is_noticed() {
        let cut = life("@@plan 2\n@@case 3 first pass\n");
        assert!(cut.complete().unwrap_err().contains("1 of 2"));
        let short = life("@@plan 2\n@@case 3 first pass\n@@done passed=1 failed=0\n");
        assert!(short.complete().unwrap_err().contains("1 of 2"));
        let miscounted = life("@@plan 1\n@@case 3 first fail x\n@@done passed=1 failed=0\n");
        assert!(miscounted.complete().unwrap_err().contains("counted"));
    }

    #[test]
    fn each_start_is_a_life() {
        let lives =
            Console::read("@@plan 0\n@@done passed=0 failed=0\n@@plan 5\n@@run 3 a\n").lives;
        assert_eq!(lives.len(), 2);
        assert_eq!(lives[0].complete(), Ok(()));
        assert!(lives[1].complete().is_err());
    }

    #[test]
    fn what_only_looks_alike_is_no_case() {
        let life = life(
            "@@plan 1\n@@case x first pass\n@@case 3 first perhaps\n @@case 3 first pass\n@@case 3\n",
        );
        assert_eq!(life.ended, []);
    }
}
