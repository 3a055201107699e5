//! What is refused.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use cenc::{Block, Pattern, Scheme, Subsample};
use drm_protocol::{
    BAD_PARAMETERS, BAD_STATE, Command, ITEM_NOT_FOUND, MAC_INVALID, NOT_SUPPORTED, SCHEME_CBCS,
    SCHEME_CENC, SHORT_BUFFER, SUBSAMPLES_MAX, SUCCESS,
};
use tee_client::{Parameter, Tee};

use super::attempt::{
    self, Attempt, CONTENT_KEY, KEY_ID, Trial, UNTOUCHED, Verdict, holds, player, refused, stream,
};
use crate::issuer::{self, Chance};
use crate::player::{Player, Shared, write_info};
use crate::reference::Reference;

pub(super) const TRIALS: &[Trial] = &[
    Trial {
        name: "a sample without a stream: BAD_STATE",
        run: |tee| {
            no_output(
                &player(tee)?,
                &Attempt::of((IV, 16), TABLE, &SAMPLE),
                BAD_STATE,
            )
        },
    },
    Trial {
        name: "a stream with a key that no one has: ITEM_NOT_FOUND",
        run: |tee| {
            refused(
                player(tee)?.open_stream(&NO_KEY, Scheme::Cenc),
                ITEM_NOT_FOUND,
            )
        },
    },
    Trial {
        name: "a sample of another key: ITEM_NOT_FOUND",
        run: |tee| in_both_schemes(tee, ITEM_NOT_FOUND, |attempt| attempt.key_id = NO_KEY),
    },
    Trial {
        name: "a truncated sample: BAD_PARAMETERS",
        run: |tee| {
            in_both_schemes(tee, BAD_PARAMETERS, |attempt| {
                attempt.sample = &SAMPLE[..99];
            })
        },
    },
    Trial {
        name: "an empty sample: BAD_PARAMETERS",
        run: |tee| in_both_schemes(tee, BAD_PARAMETERS, |attempt| attempt.sample = &[]),
    },
    Trial {
        name: "subsamples that overrun: BAD_PARAMETERS",
        run: |tee| in_both_schemes(tee, BAD_PARAMETERS, |attempt| attempt.table = OVERRUNNING),
    },
    Trial {
        name: "subsamples whose sum wraps: BAD_PARAMETERS",
        run: |tee| in_both_schemes(tee, BAD_PARAMETERS, |attempt| attempt.table = WRAPPING),
    },
    Trial {
        name: "subsamples that leave a rest: BAD_PARAMETERS",
        run: |tee| in_both_schemes(tee, BAD_PARAMETERS, |attempt| attempt.table = SHORT),
    },
    Trial {
        name: "too many subsamples: BAD_PARAMETERS",
        run: |tee| in_both_schemes(tee, BAD_PARAMETERS, |attempt| attempt.table = TOO_MANY),
    },
    Trial {
        name: "a vector of a length that there is not: BAD_PARAMETERS",
        run: |tee| in_both_schemes(tee, BAD_PARAMETERS, |attempt| attempt.iv.1 = 12),
    },
    Trial {
        name: "a short vector with something behind it: BAD_PARAMETERS",
        run: |tee| in_both_schemes(tee, BAD_PARAMETERS, |attempt| attempt.iv.1 = 8),
    },
    Trial {
        name: "an output that is too small: SHORT_BUFFER, with the size",
        run: too_small,
    },
    Trial {
        name: "a scheme or a pattern that there is not: BAD_PARAMETERS",
        run: no_scheme,
    },
    Trial {
        name: "other parameters: BAD_PARAMETERS",
        run: other_parameters,
    },
    Trial {
        name: "no memory: BAD_PARAMETERS, or SHORT_BUFFER for the output",
        run: no_memory,
    },
    Trial {
        name: "a table that changes meanwhile: done right, or BAD_PARAMETERS",
        run: changing_table,
    },
    Trial {
        name: "a header that is cut short: BAD_PARAMETERS",
        run: no_header,
    },
    Trial {
        name: "a command that there is not: NOT_SUPPORTED",
        run: no_command,
    },
    Trial {
        name: "a key that was wrapped for another application: MAC_INVALID",
        run: wrapped_for_another,
    },
    Trial {
        name: "a wrapped key that was changed: MAC_INVALID",
        run: changed_key,
    },
    Trial {
        name: "an issuer's key that gives nothing away and nothing secret: BAD_PARAMETERS",
        run: low_order,
    },
    Trial {
        name: "a key that was forgotten: ITEM_NOT_FOUND",
        run: forgotten,
    },
];

const IV: Block = *b"vectors of trial";
const NO_KEY: [u8; 16] = *b"not provisioned.";
const SAMPLE: [u8; 100] = [0x33; 100];
const TABLE: &[Subsample] = &[part(10, 20), part(10, 60)];
const OVERRUNNING: &[Subsample] = &[part(10, 20), part(10, 61)];
const WRAPPING: &[Subsample] = &[part(u32::MAX, u32::MAX), part(102, u32::MAX)];
const SHORT: &[Subsample] = &[part(10, 20), part(10, 59)];
const TOO_MANY: &[Subsample] = &{
    let mut table = [part(0, 0); SUBSAMPLES_MAX + 1];
    table[0] = part(10, 90);
    table
};
const VIDEO: Scheme = Scheme::Cbcs(Pattern::VIDEO);

const fn part(clear: u32, protected: u32) -> Subsample {
    Subsample { clear, protected }
}

/// A refusal leaves the output as it was.
fn no_output(player: &Player<'_>, attempt: &Attempt<'_>, expected: u32) -> Verdict {
    let (result, output) = attempt.run(player);
    refused(result, expected)?;
    holds(
        output.iter().all(|byte| *byte == UNTOUCHED),
        "no output is written",
    )
}

/// A flaw is refused in either scheme, and the stream goes on after it.
fn in_both_schemes(tee: &Tee, expected: u32, flaw: impl Fn(&mut Attempt<'_>)) -> Verdict {
    for scheme in [Scheme::Cenc, VIDEO] {
        let player = stream(tee, scheme)?;
        let mut attempt = Attempt::of((IV, 16), TABLE, &SAMPLE);
        flaw(&mut attempt);
        no_output(&player, &attempt, expected)?;
        goes_on(&player, scheme)?;
    }
    Ok(())
}

fn goes_on(player: &Player<'_>, scheme: Scheme) -> Verdict {
    let mut sample = SAMPLE;
    Reference::new(&CONTENT_KEY).protect(scheme, IV, TABLE, &mut sample);
    let (result, output) = Attempt::of((IV, 16), TABLE, &sample).run(player);
    result?;
    holds(output == SAMPLE, "the stream goes on after the refusal")
}

fn too_small(tee: &Tee) -> Verdict {
    for scheme in [Scheme::Cenc, VIDEO] {
        let player = stream(tee, scheme)?;
        let mut attempt = Attempt::of((IV, 16), TABLE, &SAMPLE);
        attempt.room = SAMPLE.len() - 1;
        no_output(&player, &attempt, SHORT_BUFFER)?;
        goes_on(&player, scheme)?;
    }
    let player = player(tee)?;
    let output = Shared::new(tee, 8)?;
    let mut parameters = [Parameter::NONE; 4];
    parameters[0] = Parameter::output(output.as_ref(), 8);
    let answer = player.answer(Command::PublicKey, parameters)?;
    holds(answer.result == SHORT_BUFFER, "the public key does not fit")?;
    holds(answer.parameters[0].size() == 32, "its size is told")
}

fn no_scheme(tee: &Tee) -> Verdict {
    let player = player(tee)?;
    let mut id = Shared::new(tee, KEY_ID.len())?;
    id.pages.copy_from_slice(&KEY_ID);
    for (scheme, pattern) in [
        (0, 0),
        (3, 0),
        (SCHEME_CENC, 0x109),
        (SCHEME_CBCS, 0),
        (SCHEME_CBCS, 9),
        (SCHEME_CBCS, 0x0001_0109),
        (SCHEME_CBCS, 0x1009),
    ] {
        let parameters = [
            Parameter::input(id.as_ref(), KEY_ID.len()),
            Parameter::values(scheme, pattern),
            Parameter::NONE,
            Parameter::NONE,
        ];
        let answer = player.answer(Command::OpenStream, parameters)?;
        holds(
            answer.result == BAD_PARAMETERS,
            &format!("scheme {scheme} with pattern {pattern:#x} is refused"),
        )?;
    }
    Ok(())
}

fn other_parameters(tee: &Tee) -> Verdict {
    let player = stream(tee, Scheme::Cenc)?;
    let memory = Shared::new(tee, 100)?;
    let (input, output) = (
        Parameter::input(memory.as_ref(), 100),
        Parameter::output(memory.as_ref(), 100),
    );
    let (value, none) = (Parameter::values(1, 1), Parameter::NONE);
    for (command, parameters) in [
        (Command::Decrypt, [none; 4]),
        (Command::Decrypt, [value; 4]),
        (Command::Decrypt, [input, input, input, none]),
        (Command::Decrypt, [input, output, none, none]),
        (Command::Decrypt, [input, input, output, value]),
        (Command::OpenStream, [input, none, none, none]),
        (Command::OpenStream, [value, value, none, none]),
        (Command::PublicKey, [input, none, none, none]),
        (Command::ProvisionKey, [input, none, none, none]),
        (Command::ProvisionKey, [none; 4]),
        (Command::ForgetKey, [value, none, none, none]),
        (Command::ForgetKey, [input, none, none, none]),
    ] {
        let answer = player.answer(command, parameters)?;
        holds(
            answer.result == BAD_PARAMETERS,
            &format!(
                "{command:?} with {parameters:?} is refused, and not {:#x}",
                answer.result
            ),
        )?;
    }
    goes_on(&player, Scheme::Cenc)
}

fn no_memory(tee: &Tee) -> Verdict {
    let player = stream(tee, Scheme::Cenc)?;
    let mut info = Shared::new(tee, 64)?;
    let length = write_info(&mut info.pages, KEY_ID, (IV, 16), TABLE).ok_or("there is no room")?;
    let info = Parameter::input(info.as_ref(), length);
    let memory = Shared::new(tee, 100)?;
    let (input, output) = (
        Parameter::input(memory.as_ref(), 100),
        Parameter::output(memory.as_ref(), 100),
    );
    let (no_input, no_output) = (Parameter::null_input(), Parameter::null_output());
    let none = Parameter::NONE;
    for (command, parameters, expected) in [
        (
            Command::Decrypt,
            [no_input, input, output, none],
            BAD_PARAMETERS,
        ),
        (
            Command::Decrypt,
            [info, no_input, output, none],
            BAD_PARAMETERS,
        ),
        (
            Command::Decrypt,
            [info, input, no_output, none],
            SHORT_BUFFER,
        ),
        (
            Command::PublicKey,
            [no_output, none, none, none],
            SHORT_BUFFER,
        ),
        (
            Command::ProvisionKey,
            [no_input, none, none, none],
            BAD_PARAMETERS,
        ),
        (
            Command::ForgetKey,
            [no_input, none, none, none],
            BAD_PARAMETERS,
        ),
    ] {
        let answer = player.answer(command, parameters)?;
        holds(
            answer.result == expected,
            &format!(
                "{command:?} with {parameters:?} is refused, and not {:#x}",
                answer.result
            ),
        )?;
    }
    goes_on(&player, Scheme::Cenc)
}

/// Another thread changes the table's last entry, which overruns every other moment, while samples
/// are decrypted.
fn changing_table(tee: &Tee) -> Verdict {
    /// The least significant byte of the last entry's protected bytes.
    const PLACE: usize = 40 + 8 + 4;
    const CALLS: usize = 500;
    for scheme in [Scheme::Cenc, VIDEO] {
        let player = stream(tee, scheme)?;
        let mut sample = SAMPLE;
        Reference::new(&CONTENT_KEY).protect(scheme, IV, TABLE, &mut sample);
        let mut info = Shared::new(tee, 64)?;
        let length = write_info(&mut info.pages, KEY_ID, (IV, 16), TABLE).ok_or("no room")?;
        let mut input = Shared::new(tee, sample.len())?;
        input.pages.copy_from_slice(&sample);
        let mut output = Shared::new(tee, sample.len())?;
        let parameters = [
            Parameter::input(info.as_ref(), length),
            Parameter::input(input.as_ref(), sample.len()),
            Parameter::output(output.as_ref(), sample.len()),
            Parameter::NONE,
        ];
        let right = info.pages[PLACE];
        let changing = info
            .pages
            .atomic(PLACE)
            .ok_or("the entry is in the memory")?;
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    changing.store(right + 1, Ordering::Relaxed);
                    changing.store(right, Ordering::Relaxed);
                }
            });
            let calls = (0..CALLS).try_for_each(|_| {
                output.pages.fill(UNTOUCHED);
                match player.answer(Command::Decrypt, parameters)?.result {
                    SUCCESS => holds(
                        output.pages[..] == SAMPLE,
                        "a sample that is taken is right",
                    ),
                    BAD_PARAMETERS => {
                        let untouched = output.pages.iter().all(|byte| *byte == UNTOUCHED);
                        holds(untouched, "no output is written")
                    }
                    other => holds(
                        false,
                        &format!("the result is one of two, and not {other:#x}"),
                    ),
                }
            });
            over.store(true, Ordering::Relaxed);
            calls
        })?;
    }
    Ok(())
}

fn no_header(tee: &Tee) -> Verdict {
    let player = stream(tee, Scheme::Cenc)?;
    let (info, sample) = (Shared::new(tee, 64)?, Shared::new(tee, 64)?);
    for length in [0, 1, 39, 41, 47] {
        refused(
            player.decrypt((&info, length), (&sample, 64), (&sample, 64)),
            BAD_PARAMETERS,
        )?;
    }
    Ok(())
}

fn no_command(tee: &Tee) -> Verdict {
    let player = player(tee)?;
    for number in [6, u32::MAX] {
        let answer = player.answer_to(number, [Parameter::NONE; 4])?;
        holds(answer.result == NOT_SUPPORTED, "the command is refused")?;
    }
    Ok(())
}

fn wrapped_for_another(tee: &Tee) -> Verdict {
    let other = x25519_dalek::PublicKey::from(&x25519_dalek::StaticSecret::from([7; 32]));
    let wrapped = issuer::wrap(other.as_bytes(), NO_KEY, &CONTENT_KEY, &Chance::new()?)
        .ok_or("the key can't be wrapped")?;
    let player = player(tee)?;
    refused(player.provision(&wrapped), MAC_INVALID)?;
    refused(player.open_stream(&NO_KEY, Scheme::Cenc), ITEM_NOT_FOUND)
}

fn changed_key(tee: &Tee) -> Verdict {
    let player = player(tee)?;
    let wrapped = issuer::wrap(&player.public_key()?, NO_KEY, &CONTENT_KEY, &Chance::new()?)
        .ok_or("the key can't be wrapped")?;
    let mut changed = [wrapped; 5];
    changed[0].key_id[15] ^= 1;
    changed[1].public_key[0] ^= 1;
    changed[2].nonce[0] ^= 1;
    changed[3].content_key[0] ^= 0x80;
    changed[4].tag[15] ^= 1;
    for changed in changed {
        refused(player.provision(&changed), MAC_INVALID)?;
    }
    refused(player.open_stream(&NO_KEY, Scheme::Cenc), ITEM_NOT_FOUND)
}

fn low_order(tee: &Tee) -> Verdict {
    let player = player(tee)?;
    let mut wrapped = issuer::wrap(&player.public_key()?, NO_KEY, &CONTENT_KEY, &Chance::new()?)
        .ok_or("the key can't be wrapped")?;
    for first in [0, 1] {
        wrapped.public_key = [0; 32];
        wrapped.public_key[0] = first;
        refused(player.provision(&wrapped), BAD_PARAMETERS)?;
    }
    Ok(())
}

fn forgotten(tee: &Tee) -> Verdict {
    const ID: [u8; 16] = *b"soon to be gone.";
    let player = player(tee)?;
    attempt::provision(&player, ID, &CONTENT_KEY)?;
    player.open_stream(&ID, Scheme::Cenc)?;
    // Sessions come and go; the key stays.
    Player::open(tee)?.open_stream(&ID, Scheme::Cenc)?;
    player.forget(&ID)?;
    refused(player.forget(&ID), ITEM_NOT_FOUND)?;
    refused(player.open_stream(&ID, Scheme::Cenc), ITEM_NOT_FOUND)
}
