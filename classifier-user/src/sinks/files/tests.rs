//! The disk fails at every operation there is, and the process is gone: each record is in one finished file.
