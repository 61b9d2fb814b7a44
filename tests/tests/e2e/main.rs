//! Everything that is tried with real packets, real agents and real neighbours, in one program: the tests of all rooms share
//! its threads, and most of the time each of them waits for the kernel. `cargo test -p zerorate-tests --test e2e takeover`
//! runs one room.

#![forbid(unsafe_code)]

// The lab itself.
mod lab;
mod lab_frames;

// From the wire to the class: what packets are, and whose.
mod captures;
mod exact_bytes;
mod exact_frames;
mod fixtures;
mod many_cpus;
mod oracle_property;

// Where packets are met.
mod egress;
mod egress_gateway;
mod egress_rules;
mod egress_takeover;
mod interfaces;

// Who pays, and who passes.
mod at_once;
mod cycles;
mod enforcement;
mod money;
mod on_block;
mod orders;
mod scenarios;
mod service;

// What packets are told apart by, and what they have to tell.
mod dscp;
mod events;
mod events_stream;
mod tags;
mod tags_hooks;

// Policies and subscribers change under traffic.
mod feeds;
mod feeds_web;
mod guards;
mod guide;
mod in_place;
mod plans_in_time;
mod policy_split;
mod recycling;
mod reload;
mod reload_under_load;
mod revisions;
mod signed;
mod versions;

// Records, and the books.
mod fault_points;
mod ledger;
mod notes;
mod reconcile;
mod records;
mod records_disk;
mod rollups;
mod sink_away;
mod sink_files;
mod sink_postgres;
mod soak;
mod statement;

// The agent, and those who ask it.
mod api;
mod commands;
mod demo;
mod faults;
mod looking;
mod metrics;
mod privileges;
mod refusals;
mod takeover;
