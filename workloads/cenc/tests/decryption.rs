//! Samples against software: published vectors, what the standard says about counters, chains and
//! patterns, and any table.

use std::convert::Infallible;
use std::ops::Range;

use aes::Aes128;
use aes::cipher::{BlockCipherDecrypt as _, BlockCipherEncrypt as _, KeyInit as _};
use cenc::{BLOCK, Block, Engine, Flaw, Pattern, Sample, Scheme, Subsample};
use drm_playback::Reference;
use proptest::prelude::*;

const KEY: [u8; 16] = [
    0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c,
];
const IV: Block = *b"sixteen bytes iv";
/// Room for all blocks that lie apart in most tests.
const SCRATCH: usize = 4096;

/// What an engine was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Start(Block),
    Copy(Range<usize>),
    Decrypt(Range<usize>),
    Read(usize, usize),
    DecryptBlocks(usize),
    Write(usize, usize),
}

/// A cipher as a TEE has it: in CTR mode, the counter is the whole block; in CBC mode, whole blocks
/// alone are taken.
struct Software {
    cipher: Aes128,
    is_stream: bool,
    chain: Block,
    key_stream: Vec<u8>,
    input: Vec<u8>,
    /// `None` where the output goes to the place of the input.
    output: Option<Vec<u8>>,
    steps: Vec<Step>,
}

impl Software {
    fn new(scheme: Scheme, input: &[u8], in_place: bool) -> Self {
        Self {
            cipher: Aes128::new(&KEY.into()),
            is_stream: scheme == Scheme::Cenc,
            chain: [0; BLOCK],
            key_stream: Vec::new(),
            input: input.to_vec(),
            output: (!in_place).then(|| vec![0xa5; input.len()]),
            steps: Vec::new(),
        }
    }

    fn result(self) -> Vec<u8> {
        self.output.unwrap_or(self.input)
    }

    fn go_on(&mut self, bytes: &mut [u8]) {
        if self.is_stream {
            for byte in bytes {
                if self.key_stream.is_empty() {
                    let mut block = self.chain.into();
                    self.cipher.encrypt_block(&mut block);
                    self.key_stream = block.iter().rev().copied().collect();
                    self.chain = u128::from_be_bytes(self.chain)
                        .wrapping_add(1)
                        .to_be_bytes();
                }
                *byte ^= self.key_stream.pop().expect("a block was added");
            }
        } else {
            assert_eq!(bytes.len() % BLOCK, 0, "a chain has whole blocks");
            for block in bytes.chunks_exact_mut(BLOCK) {
                let protected: Block = (&*block).try_into().expect("a block has its size");
                let mut clear = protected.into();
                self.cipher.decrypt_block(&mut clear);
                for ((byte, clear), last) in block.iter_mut().zip(clear).zip(self.chain) {
                    *byte = clear ^ last;
                }
                self.chain = protected;
            }
        }
    }

    fn put(&mut self, range: Range<usize>, bytes: &[u8]) {
        let output = self.output.as_mut().unwrap_or(&mut self.input);
        output[range].copy_from_slice(bytes);
    }
}

impl Engine for Software {
    type Error = Infallible;

    fn start(&mut self, iv: &Block) -> Result<(), Infallible> {
        self.steps.push(Step::Start(*iv));
        self.chain = *iv;
        self.key_stream.clear();
        Ok(())
    }

    fn copy(&mut self, range: Range<usize>) {
        self.steps.push(Step::Copy(range.clone()));
        let bytes = self.input[range.clone()].to_vec();
        self.put(range, &bytes);
    }

    fn decrypt(&mut self, range: Range<usize>) -> Result<(), Infallible> {
        self.steps.push(Step::Decrypt(range.clone()));
        let mut bytes = self.input[range.clone()].to_vec();
        self.go_on(&mut bytes);
        self.put(range, &bytes);
        Ok(())
    }

    fn read(&mut self, offset: usize, into: &mut [u8]) {
        self.steps.push(Step::Read(offset, into.len()));
        into.copy_from_slice(&self.input[offset..offset + into.len()]);
    }

    fn decrypt_blocks(&mut self, blocks: &mut [u8]) -> Result<(), Infallible> {
        self.steps.push(Step::DecryptBlocks(blocks.len()));
        self.go_on(blocks);
        Ok(())
    }

    fn write(&mut self, offset: usize, from: &[u8]) {
        self.steps.push(Step::Write(offset, from.len()));
        self.put(offset..offset + from.len(), from);
    }
}

fn sample(
    scheme: Scheme,
    iv: Block,
    table: &[Subsample],
    length: usize,
) -> Result<Sample<impl Iterator<Item = Subsample> + Clone>, Flaw> {
    Sample::new(scheme, iv, table.iter().copied(), length)
}

fn decrypt(scheme: Scheme, iv: Block, table: &[Subsample], input: &[u8]) -> (Vec<u8>, Vec<Step>) {
    let mut engine = Software::new(scheme, input, false);
    sample(scheme, iv, table, input.len())
        .expect("the table describes the sample")
        .decrypt(&mut engine, &mut [0; SCRATCH])
        .expect("software does not fail");
    let steps = engine.steps.clone();
    (engine.result(), steps)
}

/// What an engine is asked for, whatever the bytes.
fn steps(scheme: Scheme, table: &[Subsample], length: usize) -> Vec<Step> {
    decrypt(scheme, IV, table, &vec![0; length]).1
}

fn part(clear: u32, protected: u32) -> Subsample {
    Subsample { clear, protected }
}

fn block(text: &str) -> Block {
    hex(text).try_into().expect("a block has its size")
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("two digits"))
        .collect()
}

/// NIST SP 800-38A, appendix F.
const PLAINTEXT: &str = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51\
                         30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";

#[test]
fn cenc_is_aes_128_ctr_of_nist_sp_800_38a_f_5_2() {
    let iv = block("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
    let ciphertext = hex(
        "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff\
         5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee",
    );
    let (clear, _) = decrypt(Scheme::Cenc, iv, &[], &ciphertext);
    assert_eq!(clear, hex(PLAINTEXT));
}

#[test]
fn cbcs_of_whole_blocks_is_aes_128_cbc_of_nist_sp_800_38a_f_2_2() {
    let iv = block("000102030405060708090a0b0c0d0e0f");
    let ciphertext = hex(
        "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2\
         73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7",
    );
    let (clear, _) = decrypt(Scheme::Cbcs(Pattern::WHOLE), iv, &[], &ciphertext);
    assert_eq!(clear, hex(PLAINTEXT));
}

/// The protected bytes of a sample are one stream, whose blocks don't begin anew with a subsample.
#[test]
fn a_counter_goes_on_through_subsamples() {
    let table = [part(3, 5), part(2, 30), part(4, 0)];
    assert_eq!(
        steps(Scheme::Cenc, &table, 44),
        [
            Step::Start(IV),
            Step::Copy(0..3),
            Step::Decrypt(3..8),
            Step::Copy(8..10),
            Step::Decrypt(10..40),
            Step::Copy(40..44),
        ]
    );
    let ciphertext = hex("874d6191b620e3261bef6864990db6ce9806f66b7970fdff");
    let iv = block("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
    let mut scattered = ciphertext.clone();
    scattered.splice(5..5, *b"clear");
    let (clear, _) = decrypt(Scheme::Cenc, iv, &[part(0, 5), part(5, 19)], &scattered);
    let mut expected = hex(PLAINTEXT)[..24].to_vec();
    expected.splice(5..5, *b"clear");
    assert_eq!(clear, expected);
}

/// ISO/IEC 23001-7:2016, section 9.3: the lower eight bytes count alone.
#[test]
fn a_counter_wraps_without_a_carry() {
    let iv = *b"the half\xff\xff\xff\xff\xff\xff\xff\xfe";
    let (_, steps) = decrypt(Scheme::Cenc, iv, &[part(0, 20), part(0, 28)], &[0; 48]);
    assert_eq!(
        steps,
        [
            Step::Start(iv),
            Step::Decrypt(0..20),
            Step::Decrypt(20..32),
            Step::Start(*b"the half\0\0\0\0\0\0\0\0"),
            Step::Decrypt(32..48),
        ]
    );
}

#[test]
fn a_counter_that_ends_with_the_sample_does_not_wrap() {
    let iv = *b"the half\xff\xff\xff\xff\xff\xff\xff\xff";
    let (_, steps) = decrypt(Scheme::Cenc, iv, &[], &[0; 16]);
    assert_eq!(steps, [Step::Start(iv), Step::Decrypt(0..16)]);
}

/// One block of ten is encrypted; what is less than a block at the end is clear (section 9.6).
#[test]
fn a_pattern_takes_one_block_of_ten() {
    // 21 blocks and 15 bytes behind 5 clear bytes.
    let length = 5 + 21 * 16 + 15;
    assert_eq!(
        steps(
            Scheme::Cbcs(Pattern::VIDEO),
            &[part(5, 21 * 16 + 15)],
            length
        ),
        [
            Step::Start(IV),
            Step::Copy(0..length),
            Step::Read(5, 16),
            Step::Read(165, 16),
            Step::Read(325, 16),
            Step::DecryptBlocks(48),
            Step::Write(5, 16),
            Step::Write(165, 16),
            Step::Write(325, 16),
        ]
    );
}

#[test]
fn each_subsample_is_a_chain_of_its_own() {
    let table = [part(0, 16), part(4, 15), part(0, 17)];
    assert_eq!(
        steps(Scheme::Cbcs(Pattern::VIDEO), &table, 52),
        [
            Step::Start(IV),
            Step::Copy(0..16),
            Step::Read(0, 16),
            Step::DecryptBlocks(16),
            Step::Write(0, 16),
            // Less than a block: clear.
            Step::Copy(16..35),
            Step::Start(IV),
            Step::Copy(35..52),
            Step::Read(35, 16),
            Step::DecryptBlocks(16),
            Step::Write(35, 16),
        ]
    );
}

#[test]
fn whole_blocks_go_straight_through() {
    assert_eq!(
        steps(Scheme::Cbcs(Pattern::WHOLE), &[part(7, 50)], 57),
        [
            Step::Start(IV),
            Step::Copy(0..7),
            Step::Decrypt(7..55),
            Step::Copy(55..57),
        ]
    );
}

/// A call of the cipher is a system call in a trusted application.
#[test]
fn a_large_frame_takes_few_calls() {
    let scheme = Scheme::Cbcs(Pattern::VIDEO);
    let mut engine = Software::new(scheme, &vec![0; 208_000], false);
    sample(scheme, IV, &[part(100, 207_900)], 208_000)
        .expect("the table describes the sample")
        .decrypt(&mut engine, &mut vec![0; 32 << 10])
        .expect("software does not fail");
    let calls = engine
        .steps
        .iter()
        .filter(|step| matches!(step, Step::DecryptBlocks(_) | Step::Decrypt(_)));
    assert_eq!(calls.count(), 1);
}

#[test]
fn tables_that_overrun_are_refused() {
    for table in [
        &[part(0, 101)][..],
        &[part(101, 0)],
        &[part(50, 50), part(0, 1)],
        &[part(50, 50), part(1, 0)],
        // Sums that would wrap, of 32 bits and of 64.
        &[part(u32::MAX, 101)],
        &[part(u32::MAX, u32::MAX); 4],
    ] {
        let flaw = sample(Scheme::Cenc, IV, table, 100).map(|_| ());
        assert_eq!(flaw, Err(Flaw::Overrun), "{table:?}");
    }
}

#[test]
fn tables_that_leave_a_rest_are_refused() {
    for table in [
        &[part(0, 99)][..],
        &[part(0, 0)],
        &[part(50, 0), part(0, 49)],
    ] {
        let flaw = sample(Scheme::Cenc, IV, table, 100).map(|_| ());
        assert_eq!(flaw, Err(Flaw::Remainder), "{table:?}");
    }
}

#[test]
fn patterns_have_four_bits_for_each_number_and_encrypt_something() {
    for (crypt, skip) in [(0, 0), (0, 9), (16, 0), (1, 16)] {
        assert_eq!(Pattern::new(crypt, skip), None, "{crypt}:{skip}");
    }
    assert_eq!(Pattern::new(1, 9), Some(Pattern::VIDEO));
    assert_eq!(Pattern::new(1, 0), Some(Pattern::WHOLE));
    assert!(Pattern::new(15, 15).is_some());
}

fn any_scheme() -> impl Strategy<Value = Scheme> {
    prop_oneof![
        Just(Scheme::Cenc),
        Just(Scheme::Cbcs(Pattern::VIDEO)),
        (1u8..=15, 0u8..=15).prop_map(|(crypt, skip)| {
            Scheme::Cbcs(Pattern::new(crypt, skip).expect("in range"))
        }),
    ]
}

fn any_table() -> impl Strategy<Value = Vec<Subsample>> {
    let size = prop_oneof![0u32..40, 0u32..2000, Just(0), Just(16), Just(160)];
    prop::collection::vec((size.clone(), size).prop_map(|(c, p)| part(c, p)), 1..20)
}

proptest! {
    #[test]
    fn any_sample_comes_out_as_it_was(
        scheme in any_scheme(),
        iv in any::<Block>(),
        near_the_end in any::<bool>(),
        table in any_table(),
        scratch in prop_oneof![Just(0usize), 0usize..600, Just(8192)],
        in_place in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut iv = iv;
        if near_the_end {
            iv[8..15].fill(0xff);
        }
        let length = table.iter().map(|part| part.clear + part.protected).sum::<u32>() as usize;
        let mut clear = vec![0; length];
        drm_playback::random::Sequence::new(seed).fill(&mut clear);
        let mut protected = clear.clone();
        Reference::new(&KEY).protect(scheme, iv, &table, &mut protected);
        let mut engine = Software::new(scheme, &protected, in_place);
        sample(scheme, iv, &table, length)
            .unwrap()
            .decrypt(&mut engine, &mut vec![0; scratch])
            .expect("software does not fail");
        prop_assert_eq!(engine.result(), clear);
    }

    #[test]
    fn a_table_is_taken_only_if_it_describes_the_sample(
        table in any_table(),
        length in 0usize..5000,
    ) {
        let sum = table.iter().map(|part| part.clear + part.protected).sum::<u32>() as usize;
        let expected = match sum.cmp(&length) {
            std::cmp::Ordering::Less => Err(Flaw::Remainder),
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => Err(Flaw::Overrun),
        };
        prop_assert_eq!(sample(Scheme::Cenc, IV, &table, length).map(|_| ()), expected);
    }
}
