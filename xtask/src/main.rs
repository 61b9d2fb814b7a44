//! `cargo xtask COMMAND`: everything that has to happen around `cargo build` of zerorate.
//!
//! The kernel program is built for another target, by another compiler, than the rest of the
//! workspace, and has to exist before the binary that carries it. Each command here does its own
//! set-up first, so that a fresh clone needs nothing but the command itself.

mod apt;
mod bench;
mod build;
mod demo;
mod ebpf;
mod kernels;
mod process;
mod setup;
mod soak;
mod tally;
mod test;
mod toolchain;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::workspace::Workspace;

/// One command: its name, the arguments it takes, what it does, and the function that does it.
struct Command {
    name: &'static str,
    arguments: &'static str,
    about: &'static str,
    run: fn(&Workspace, &[String]) -> Result<ExitCode>,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "setup",
        arguments: "",
        about: "install what build, demo and test need, and mount bpffs (the others call it)",
        run: setup::command,
    },
    Command {
        name: "ebpf",
        arguments: "",
        about: "build the kernel program alone, for the next plain `cargo build` to embed",
        run: ebpf::command,
    },
    Command {
        name: "build",
        arguments: "",
        about: "build target/release/zerorate with the kernel program inside",
        run: build::command,
    },
    Command {
        name: "demo",
        arguments: "[--scenario NAME]",
        about: "build, then run real traffic through a gateway in network namespaces (root); NAME: a policy's, or list",
        run: demo::command,
    },
    Command {
        name: "bench",
        arguments: "[--quick] [--json FILE] [--svg FILE]",
        about: "build, then measure a packet's cost beside other ways, and all the rest (root, minutes)",
        run: bench::command,
    },
    Command {
        name: "test",
        arguments: "[--soak] [--only STEP] [-- ARGS]",
        about: "run every check and test there is, and the soak; ARGS go to `cargo test` instead of --workspace",
        run: test::command,
    },
    Command {
        name: "soak",
        arguments: "[--kills N] [--joins N] [--records N] [--minutes N]",
        about: "1,000 kills, 100,000 joins and leaves, a server away for 300,000 records, an hour of all at once (root); 0 leaves a part out",
        run: soak::command,
    },
    Command {
        name: "kernels",
        arguments: "[SERIES...]",
        about: "boot Debian's 6.1 and 6.12, or other series, under QEMU and try zerorate there (minutes)",
        run: kernels::command,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<ExitCode> {
    let Some((name, rest)) = arguments.split_first() else {
        print!("{}", help());
        return Ok(ExitCode::SUCCESS);
    };
    let wants_help = |word: &String| matches!(word.as_str(), "-h" | "--help" | "help");
    if wants_help(name) || rest.iter().take_while(|word| *word != "--").any(wants_help) {
        print!("{}", help());
        return Ok(ExitCode::SUCCESS);
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        bail!("there is no command `{name}`; `cargo xtask --help` lists them");
    };
    if command.arguments.is_empty()
        && let Some(extra) = rest.first()
    {
        bail!("`cargo xtask {name}` takes no arguments, not `{extra}`");
    }
    (command.run)(&Workspace::locate()?, rest)
}

fn help() -> String {
    let mut text = String::from("Usage: cargo xtask COMMAND\n\nCommands:\n");
    for command in COMMANDS {
        let usage = format!("{} {}", command.name, command.arguments);
        text.push_str(&format!("  {usage:<30} {}\n", command.about));
    }
    text.push_str(&format!(
        "\nSteps of test: {}\n",
        test::step_names().join(", ")
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn help_names_every_command_and_step() {
        let text = help();
        for command in COMMANDS {
            assert!(
                text.contains(&format!("\n  {} ", command.name)),
                "{}",
                command.name
            );
        }
        for step in test::step_names() {
            assert!(text.contains(step), "{step}");
        }
    }

    #[test]
    fn unknown_commands_and_surplus_arguments_are_refused() {
        let refusal = |line| dispatch(&words(line)).unwrap_err().to_string();
        assert!(refusal("biuld").contains("`biuld`"));
        assert!(refusal("build --fast").contains("`--fast`"));
        assert!(refusal("test --only nothing").contains("`nothing`"));
    }

    #[test]
    fn help_is_given_before_anything_is_run() {
        dispatch(&words("")).unwrap();
        dispatch(&words("--help")).unwrap();
        dispatch(&words("test --help")).unwrap();
    }
}
