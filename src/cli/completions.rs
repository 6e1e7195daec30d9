//! `lockerfs completions`: command lines completed by the shell.

use clap::Args;
use clap_complete::Shell;

use super::Outcome;
use super::output;

const EXAMPLES: &str = "\
Examples:
  lockerfs completions bash > ~/.local/share/bash-completion/completions/lockerfs
  lockerfs completions zsh > ~/.zfunc/_lockerfs     with ~/.zfunc in $fpath
  lockerfs completions fish > ~/.config/fish/completions/lockerfs.fish";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CompletionsArgs {
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "lockerfs", &mut script);
    output::put_bytes(&script);
    Ok(())
}
