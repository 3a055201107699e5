//! What is decrypted.

use cenc::{Block, Pattern, Scheme, Subsample};
use tee_client::Tee;

use super::attempt::{self, Attempt, CONTENT_KEY, Trial, Verdict, holds, player, stream};
use crate::player::Player;
use crate::random::Sequence;
use crate::reference::Reference;

pub(super) const TRIALS: &[Trial] = &[
    Trial {
        name: "a call that does nothing",
        run: |tee| Ok(Player::open(tee)?.nothing()?),
    },
    Trial {
        name: "NIST SP 800-38A, F.5.2: AES-128-CTR",
        run: |tee| published(tee, Scheme::Cenc, COUNTER, &CTR_CIPHERTEXT),
    },
    Trial {
        name: "NIST SP 800-38A, F.2.2: AES-128-CBC",
        run: |tee| published(tee, Scheme::Cbcs(Pattern::WHOLE), IV, &CBC_CIPHERTEXT),
    },
    Trial {
        name: "cenc against software",
        run: |tee| against_software(tee, Scheme::Cenc, (VECTOR, 16)),
    },
    Trial {
        name: "cenc with a short vector against software",
        run: |tee| against_software(tee, Scheme::Cenc, (SHORT_VECTOR, 8)),
    },
    Trial {
        name: "cenc with a counter that wraps against software",
        run: |tee| against_software(tee, Scheme::Cenc, (NEARLY_AROUND, 16)),
    },
    Trial {
        name: "cbcs against software",
        run: |tee| against_software(tee, Scheme::Cbcs(Pattern::VIDEO), (VECTOR, 16)),
    },
    Trial {
        name: "cbcs of whole samples against software",
        run: |tee| against_software(tee, Scheme::Cbcs(Pattern::WHOLE), (VECTOR, 16)),
    },
    Trial {
        name: "streams side by side",
        run: side_by_side,
    },
];

const VECTOR: Block = *b"a vector, at all";
const SHORT_VECTOR: Block = *b"a vector\0\0\0\0\0\0\0\0";
const NEARLY_AROUND: Block = *b"a vector\xff\xff\xff\xff\xff\xff\xff\xfd";

/// NIST SP 800-38A, F.5.2.
const COUNTER: Block = [
    0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff,
];
/// The same, F.2.2.
const IV: Block = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
/// The plaintext of both.
const PLAINTEXT: [u8; 64] = [
    0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96, 0xe9, 0x3d, 0x7e, 0x11, 0x73, 0x93, 0x17, 0x2a,
    0xae, 0x2d, 0x8a, 0x57, 0x1e, 0x03, 0xac, 0x9c, 0x9e, 0xb7, 0x6f, 0xac, 0x45, 0xaf, 0x8e, 0x51,
    0x30, 0xc8, 0x1c, 0x46, 0xa3, 0x5c, 0xe4, 0x11, 0xe5, 0xfb, 0xc1, 0x19, 0x1a, 0x0a, 0x52, 0xef,
    0xf6, 0x9f, 0x24, 0x45, 0xdf, 0x4f, 0x9b, 0x17, 0xad, 0x2b, 0x41, 0x7b, 0xe6, 0x6c, 0x37, 0x10,
];
const CTR_CIPHERTEXT: [u8; 64] = [
    0x87, 0x4d, 0x61, 0x91, 0xb6, 0x20, 0xe3, 0x26, 0x1b, 0xef, 0x68, 0x64, 0x99, 0x0d, 0xb6, 0xce,
    0x98, 0x06, 0xf6, 0x6b, 0x79, 0x70, 0xfd, 0xff, 0x86, 0x17, 0x18, 0x7b, 0xb9, 0xff, 0xfd, 0xff,
    0x5a, 0xe4, 0xdf, 0x3e, 0xdb, 0xd5, 0xd3, 0x5e, 0x5b, 0x4f, 0x09, 0x02, 0x0d, 0xb0, 0x3e, 0xab,
    0x1e, 0x03, 0x1d, 0xda, 0x2f, 0xbe, 0x03, 0xd1, 0x79, 0x21, 0x70, 0xa0, 0xf3, 0x00, 0x9c, 0xee,
];
const CBC_CIPHERTEXT: [u8; 64] = [
    0x76, 0x49, 0xab, 0xac, 0x81, 0x19, 0xb2, 0x46, 0xce, 0xe9, 0x8e, 0x9b, 0x12, 0xe9, 0x19, 0x7d,
    0x50, 0x86, 0xcb, 0x9b, 0x50, 0x72, 0x19, 0xee, 0x95, 0xdb, 0x11, 0x3a, 0x91, 0x76, 0x78, 0xb2,
    0x73, 0xbe, 0xd6, 0xb8, 0xe3, 0xc1, 0x74, 0x3b, 0x71, 0x16, 0xe6, 0x9e, 0x22, 0x22, 0x95, 0x16,
    0x3f, 0xf1, 0xca, 0xa1, 0x68, 0x1f, 0xac, 0x09, 0x12, 0x0e, 0xca, 0x30, 0x75, 0x86, 0xe1, 0xa7,
];

fn published(tee: &Tee, scheme: Scheme, iv: Block, ciphertext: &[u8]) -> Verdict {
    let player = stream(tee, scheme)?;
    let attempt = Attempt::of((iv, 16), &[], ciphertext);
    let (result, output) = attempt.run(&player);
    result?;
    holds(output == PLAINTEXT, "the plaintext is the published one")?;
    holds(
        attempt.run_in_place(&player)? == PLAINTEXT,
        "the plaintext is the published one where the ciphertext was",
    )
}

fn part(clear: u32, protected: u32) -> Subsample {
    Subsample { clear, protected }
}

/// Tables of all kinds: none, parts that don't end with a block, parts without clear or without
/// protected bytes, more blocks than the application's memory for them holds.
fn tables() -> Vec<Vec<Subsample>> {
    let mut sequence = Sequence::new(1);
    let many = (0..300).map(|_| part(sequence.between(0, 40), sequence.between(0, 400)));
    vec![
        vec![part(7, 0)],
        vec![part(0, 15)],
        vec![part(5, 16), part(0, 17), part(16, 161), part(3, 0)],
        vec![
            part(100, 4096),
            part(9, 159),
            part(9, 160),
            part(0, 16 * 31 + 15),
        ],
        many.collect(),
        vec![part(65, 700_001)],
    ]
}

fn against_software(tee: &Tee, scheme: Scheme, iv: (Block, usize)) -> Verdict {
    let player = stream(tee, scheme)?;
    let software = Reference::new(&CONTENT_KEY);
    for (number, table) in tables().iter().enumerate() {
        let length = table
            .iter()
            .map(|part| part.clear + part.protected)
            .sum::<u32>();
        check(&player, &software, scheme, iv, table, length as usize)
            .map_err(|error| format!("table {number}: {error}"))?;
    }
    for length in [1, 15, 16, 4097] {
        check(&player, &software, scheme, iv, &[], length)
            .map_err(|error| format!("{length} bytes without a table: {error}"))?;
    }
    Ok(())
}

fn check(
    player: &Player<'_>,
    software: &Reference,
    scheme: Scheme,
    iv: (Block, usize),
    table: &[Subsample],
    length: usize,
) -> Verdict {
    let mut clear = vec![0; length];
    Sequence::new(length as u64).fill(&mut clear);
    let mut sample = clear.clone();
    software.protect(scheme, iv.0, table, &mut sample);
    let attempt = Attempt::of(iv, table, &sample);
    let (result, output) = attempt.run(player);
    result?;
    holds(output == clear, "another place has the clear sample")?;
    holds(
        attempt.run_in_place(player)? == clear,
        "the sample's own place has the clear sample",
    )
}

/// Two streams with a key and a scheme each, sample by sample in turn.
fn side_by_side(tee: &Tee) -> Verdict {
    const OTHER_KEY: [u8; 16] = *b"quite other key.";
    const OTHER_ID: [u8; 16] = *b"quite another ID";
    let (first, second) = (player(tee)?, player(tee)?);
    attempt::provision(&second, OTHER_ID, &OTHER_KEY)?;
    first.open_stream(&attempt::KEY_ID, Scheme::Cenc)?;
    let scheme = Scheme::Cbcs(Pattern::VIDEO);
    second.open_stream(&OTHER_ID, scheme)?;
    let software = Reference::new(&OTHER_KEY);
    for length in [1000, 2000, 3000] {
        let cipher = Reference::new(&CONTENT_KEY);
        check(&first, &cipher, Scheme::Cenc, (VECTOR, 16), &[], length)?;
        let mut clear = vec![0; length];
        Sequence::new(3).fill(&mut clear);
        let mut sample = clear.clone();
        software.protect(scheme, VECTOR, &[], &mut sample);
        let mut attempt = Attempt::of((VECTOR, 16), &[], &sample);
        attempt.key_id = OTHER_ID;
        let (result, output) = attempt.run(&second);
        result?;
        holds(output == clear, "the second stream has its own key")?;
    }
    Ok(second.forget(&OTHER_ID)?)
}
