//! Protecting samples in software: what the trusted application's work is checked against. Written
//! for its plainness, and apart from the crate `cenc`, which the application uses.

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use cenc::{BLOCK, Block, Pattern, Scheme, Subsample};

/// A content key's cipher.
pub struct Reference(Aes128);

impl Reference {
    /// For this content key.
    pub fn new(content_key: &[u8; 16]) -> Self {
        Self(Aes128::new(content_key.into()))
    }

    fn encrypt_block(&self, block: Block) -> Block {
        let mut block = block.into();
        self.0.encrypt_block(&mut block);
        block.into()
    }

    /// Encrypts a sample where it is. The table describes all of it; one without entries says that
    /// all of it is protected.
    pub fn protect(&self, scheme: Scheme, iv: Block, table: &[Subsample], sample: &mut [u8]) {
        let whole = [Subsample {
            clear: 0,
            protected: sample.len() as u32,
        }];
        let table = if table.is_empty() { &whole } else { table };
        let mut counter = CounterStream::new(self, iv);
        let mut rest = sample;
        for subsample in table {
            let (_, behind) = rest.split_at_mut(subsample.clear as usize);
            let (protected, behind) = behind.split_at_mut(subsample.protected as usize);
            match scheme {
                Scheme::Cenc => protected
                    .iter_mut()
                    .for_each(|byte| *byte ^= counter.next()),
                Scheme::Cbcs(pattern) => self.chain(pattern, iv, protected),
            }
            rest = behind;
        }
    }

    fn chain(&self, pattern: Pattern, iv: Block, protected: &mut [u8]) {
        let turn = usize::from(pattern.crypt() + pattern.skip());
        let mut last = iv;
        for (number, block) in protected.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
            if number % turn < usize::from(pattern.crypt()) {
                for (byte, other) in block.iter_mut().zip(last) {
                    *byte ^= other;
                }
                *block = self.encrypt_block(*block);
                last = *block;
            }
        }
    }
}

/// The key stream of `cenc`, byte by byte.
struct CounterStream<'a> {
    cipher: &'a Reference,
    upper: u64,
    counter: u64,
    block: Block,
    used: usize,
}

impl<'a> CounterStream<'a> {
    fn new(cipher: &'a Reference, iv: Block) -> Self {
        let iv = u128::from_be_bytes(iv);
        Self {
            cipher,
            upper: (iv >> 64) as u64,
            counter: iv as u64,
            block: [0; BLOCK],
            used: BLOCK,
        }
    }

    fn next(&mut self) -> u8 {
        if self.used == BLOCK {
            let counter = u128::from(self.upper) << 64 | u128::from(self.counter);
            self.block = self.cipher.encrypt_block(counter.to_be_bytes());
            self.counter = self.counter.wrapping_add(1);
            self.used = 0;
        }
        let byte = self.block[self.used];
        self.used += 1;
        byte
    }
}
