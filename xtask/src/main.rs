//! Developer tasks: `cargo xtask test`, `cargo xtask bench`. Nothing but the standard library, so that the first word of
//! progress comes at once.

mod bench;
mod clients;
mod run;
mod test;

use std::process::ExitCode;

const USAGE: &str = "\
Developer tasks.

  cargo xtask test [--install] [--require-all]
      Formatting, clippy, all tests and the real-client scenarios; ends with counts.
      --install       install missing system packages (as root, with apt-get)
      --require-all   fail if a client is missing, instead of saying what did not run; gcloud and Google's
                      libraries for C# and PHP, which no package registry has, are said and not counted

  cargo xtask bench
      What one token and one request cost: CPU time, instructions, system calls; what `doorward run` and the SDK add.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["test", ref flags @ ..] if flags.iter().all(|flag| ["--install", "--require-all"].contains(flag)) => {
            test::run(flags.contains(&"--install"), flags.contains(&"--require-all"))
        }
        ["bench"] => bench::run(),
        _ => {
            eprint!("{USAGE}");
            ExitCode::from(2)
        }
    }
}
