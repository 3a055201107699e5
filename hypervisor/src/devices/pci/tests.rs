//! Tests of the host bridge.
