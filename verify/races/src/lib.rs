//! vCPUs of a guest call the mediator at the same time, on the made-up machine of its host tests,
//! in many orders of their steps.
//!
//! A step is what happens between two uses of a lock or an atomic. Shuttle runs one thread at a
//! time and chooses after each step who goes on: at random, and so that few changes of who runs
//! decide (PCT), which finds what needs a certain few in a row.
//! Memory is sequentially consistent here; what weaker orders permit is not looked into.

#![cfg(test)]

mod calls;
mod ends;
mod memory;
mod race;
