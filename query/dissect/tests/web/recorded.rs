//! Captures that were recorded for these tests.
