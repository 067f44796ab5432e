//! `doorward export`: everything as a file that `doorward apply` reads.

use doorward_wire::world_file::WorldFile;

use crate::file::Format;
use crate::output::print;
use crate::server::ServerArgs;

/// Print everything that is there as a file for `doorward apply`: no secrets, no keys
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward export > doorward-world.toml
  doorward export --format yaml")]
pub(crate) struct Args {
    /// How it is written
    #[arg(long, value_enum, default_value = "toml")]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Prints the file.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let server = args.server.open().await?;
    let mut file: WorldFile = server.api().get("/doorward/v1/world").await?;
    file.sort();
    let format = if args.json { Format::Json } else { args.format };
    Ok(print(&format.write(&file)?)?)
}
