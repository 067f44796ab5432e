//! `doorward app`: the applications, through our own API. A backend service of Google's Compute API is the same thing.

use std::collections::BTreeMap;

use anyhow::bail;
use doorward_wire::doorward_api::{ApplicationKind, ApplicationResource, ListApplicationsResponse};
use doorward_wire::google_api::Status;
use serde_json::json;

use super::Common;
use crate::api::{ApiError, every_page, with_query};
use crate::output::{json_line, lines, print, printable, say, table};
use doorward_wire::uri::path_segment;

/// Where the applications are.
pub(crate) const PATH: &str = "/doorward/v1/applications";
/// What to do if there is no such application.
pub(super) const SEE_LIST: &str = "`doorward app list` shows the applications";

/// Register, list, change and delete the applications that are protected
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Example:
  doorward app create wiki --host https://wiki.example.com --to http://10.0.0.7:3000
  doorward app list")]
pub(crate) enum Command {
    Create(Box<CreateArgs>),
    List(ListArgs),
    Describe(NamedArgs),
    Update(Box<UpdateArgs>),
    Enable(EnableArgs),
    Disable(DisableArgs),
    Delete(DeleteArgs),
}

/// Register an application; nobody may enter it until a policy lets them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --client-id an OAuth client is made for it. What it is to Google's APIs follows from --kind: the name of its resource, `aud` of
the signed header and gcloud's --resource-type.

Example:
  doorward app create wiki --host https://wiki.example.com --to http://10.0.0.7:3000
  doorward app create docs --host wiki.example.com --path-prefix /docs --to http://10.0.0.8:3000 --kind cloud-run --region europe-west1
  doorward policy add --app wiki --member domain:example.com")]
pub(crate) struct CreateArgs {
    /// Its name: 1 to 63 lower-case letters, digits and hyphens
    #[arg(value_name = "NAME")]
    name: String,
    /// What it is to Google's APIs
    #[arg(long, value_enum, default_value = "backend-service")]
    kind: Kind,
    /// The region of a backend service or of Cloud Run
    #[arg(long, value_name = "REGION", required_if_eq("kind", "cloud-run"))]
    region: Option<String>,
    /// The App Engine service [default: default]
    #[arg(long, value_name = "SERVICE")]
    service: Option<String>,
    /// The App Engine version
    #[arg(long = "service-version", value_name = "VERSION")]
    version: Option<String>,
    /// The number of a backend service, to keep `aud` of the signed header as it was elsewhere
    #[arg(long, value_name = "DIGITS")]
    id: Option<String>,
    /// A host or origin at which it is reached, such as https://wiki.example.com; may be given several times
    #[arg(long = "host", value_name = "HOST", required = true)]
    hosts: Vec<String>,
    /// A path that is its own on these hosts, such as /wiki; without any, all of them
    #[arg(long = "path-prefix", value_name = "PATH")]
    path_prefixes: Vec<String>,
    /// Where requests are forwarded, as http://HOST:PORT; may be given several times
    #[arg(long = "to", value_name = "URL", required = true)]
    upstreams: Vec<String>,
    /// The OAuth client that people sign in for; several applications may share one
    #[arg(long, value_name = "CLIENT_ID")]
    client_id: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,
    /// Something that is set on it by name; may be given several times
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Let nobody in until `doorward app enable`
    #[arg(long)]
    disabled: bool,
    #[command(flatten)]
    common: Common,
}

/// What an application is to Google's APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// A backend service, global or with --region of one
    BackendService,
    /// A version of an App Engine service
    AppEngine,
    /// A Cloud Run service, of a --region
    CloudRun,
}

impl Kind {
    fn resource(self) -> ApplicationKind {
        match self {
            Kind::BackendService => ApplicationKind::BackendService,
            Kind::AppEngine => ApplicationKind::AppEngine,
            Kind::CloudRun => ApplicationKind::CloudRun,
        }
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("not NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// List the applications
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward app list --json")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    common: Common,
}

/// Show an application: where it is, its client, its resource and its audience
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward app describe wiki")]
pub(crate) struct NamedArgs {
    /// Its name, or its number
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    common: Common,
}

/// Change an application: what is given replaces the whole of what it was, and the rest stays
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward app update wiki --to http://10.0.0.7:3000 --to http://10.0.0.8:3000
  doorward app update wiki --no-path-prefixes")]
pub(crate) struct UpdateArgs {
    /// Its name, or its number
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Default, clap::Args)]
#[group(required = true, multiple = true)]
struct ChangeArgs {
    /// The hosts or origins at which it is reached
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// The paths that are its own on these hosts
    #[arg(long = "path-prefix", value_name = "PATH")]
    path_prefixes: Vec<String>,
    /// All paths of its hosts are its own
    #[arg(long, conflicts_with = "path_prefixes")]
    no_path_prefixes: bool,
    /// Where requests are forwarded
    #[arg(long = "to", value_name = "URL")]
    upstreams: Vec<String>,
    /// The OAuth client that people sign in for
    #[arg(long, value_name = "CLIENT_ID")]
    client_id: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Something that is set on it by name
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Nothing is set on it by name
    #[arg(long, conflicts_with = "labels")]
    no_labels: bool,
}

impl ChangeArgs {
    /// What is to be, and the mask of it.
    fn resource(self) -> (ApplicationResource, String) {
        let ChangeArgs { hosts, path_prefixes, no_path_prefixes, upstreams, client_id, description, labels, no_labels } =
            self;
        let changes = [
            ("hosts", !hosts.is_empty()),
            ("pathPrefixes", no_path_prefixes || !path_prefixes.is_empty()),
            ("upstreams", !upstreams.is_empty()),
            ("clientId", client_id.is_some()),
            ("description", description.is_some()),
            ("labels", no_labels || !labels.is_empty()),
        ];
        let mask: Vec<&str> = changes.into_iter().filter_map(|(path, changes)| changes.then_some(path)).collect();
        let resource = ApplicationResource {
            hosts,
            path_prefixes,
            upstreams,
            client_id,
            description: description.unwrap_or_default(),
            labels: labels.into_iter().collect(),
            ..ApplicationResource::default()
        };
        (resource, mask.join(","))
    }
}

/// Let callers in again, as the policies say
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward app enable wiki")]
pub(crate) struct EnableArgs {
    #[command(flatten)]
    named: NamedArgs,
}

/// Let nobody in, whatever the policies say; requests are refused, and never passed through
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward app disable wiki")]
pub(crate) struct DisableArgs {
    #[command(flatten)]
    named: NamedArgs,
}

/// Delete an application, with the policies and settings on it; its OAuth client stays
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward app delete wiki")]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    named: NamedArgs,
}

/// Runs one of the commands.
pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create(args) => create(*args).await,
        Command::List(args) => list(args).await,
        Command::Describe(args) => describe(args).await,
        Command::Update(args) => update(*args).await,
        Command::Enable(EnableArgs { named }) => turn(named, "enable").await,
        Command::Disable(DisableArgs { named }) => turn(named, "disable").await,
        Command::Delete(DeleteArgs { named }) => delete(named).await,
    }
}

async fn create(args: CreateArgs) -> anyhow::Result<()> {
    let (request, common) = request(args)?;
    let server = common.server.open().await?;
    let made: Result<ApplicationResource, _> = server.api().post(PATH, &request).await;
    let made = made.map_err(|error| error.advise(Status::AlreadyExists, SEE_LIST))?;
    let text = || {
        let next = format!("let somebody in: doorward policy add --app {} --member user:EMAIL", made.name);
        format!("created an application\n{}{}\n", shown(&made), printable(&next))
    };
    Ok(print(&if common.json { json_line(&made)? } else { text() })?)
}

/// What is asked for. That an option is of another kind of application is said before anybody is asked.
fn request(args: CreateArgs) -> anyhow::Result<(ApplicationResource, Common)> {
    let kind = args.kind.resource();
    let of_another_kind = match kind {
        ApplicationKind::BackendService | ApplicationKind::CloudRun if args.service.is_some() => Some("--service"),
        ApplicationKind::BackendService | ApplicationKind::CloudRun if args.version.is_some() => {
            Some("--service-version")
        }
        ApplicationKind::AppEngine if args.region.is_some() => Some("--region"),
        ApplicationKind::AppEngine | ApplicationKind::CloudRun if args.id.is_some() => Some("--id"),
        ApplicationKind::BackendService | ApplicationKind::AppEngine | ApplicationKind::CloudRun => None,
    };
    if let Some(option) = of_another_kind {
        bail!("{option} is of another kind of application: leave it out, or name the kind with --kind");
    }
    let labels: BTreeMap<String, String> = args.labels.into_iter().collect();
    let request = ApplicationResource {
        name: args.name,
        kind,
        region: args.region,
        service: args.service,
        version: args.version,
        id: args.id,
        description: args.description,
        labels,
        hosts: args.hosts,
        path_prefixes: args.path_prefixes,
        upstreams: args.upstreams,
        iap_enabled: Some(!args.disabled),
        client_id: args.client_id,
        ..ApplicationResource::default()
    };
    Ok((request, args.common))
}

async fn list(ListArgs { common }: ListArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let page = |page: ListApplicationsResponse| (page.applications, page.next_page_token);
    let applications = every_page(server.api(), PATH, page).await?;
    if common.json {
        return Ok(print(&json_line(&ListApplicationsResponse { applications, next_page_token: None })?)?);
    }
    Ok(print(&rows(applications))?)
}

fn rows(applications: Vec<ApplicationResource>) -> String {
    let row = |app: ApplicationResource| {
        let state = state(&app).to_owned();
        [app.name, kind(app.kind).to_owned(), state, app.hosts.join(" "), app.upstreams.join(" ")]
    };
    table(["NAME", "KIND", "STATE", "HOSTS", "TO"], &applications.into_iter().map(row).collect::<Vec<_>>())
}

fn kind(kind: ApplicationKind) -> &'static str {
    match kind {
        ApplicationKind::BackendService => "backend-service",
        ApplicationKind::AppEngine => "app-engine",
        ApplicationKind::CloudRun => "cloud-run",
    }
}

fn state(app: &ApplicationResource) -> &'static str {
    if app.iap_enabled == Some(false) { "disabled" } else { "enabled" }
}

async fn describe(NamedArgs { name, common }: NamedArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let found: ApplicationResource = server.api().get(&path(&name)).await.map_err(advise)?;
    Ok(print(&if common.json { json_line(&found)? } else { shown(&found) })?)
}

async fn update(UpdateArgs { name, change, common }: UpdateArgs) -> anyhow::Result<()> {
    let (resource, mask) = change.resource();
    let server = common.server.open().await?;
    let path = with_query(&path(&name), &[("updateMask", &mask)]);
    let changed: ApplicationResource = server.api().patch(&path, &resource).await.map_err(advise)?;
    Ok(print(&if common.json { json_line(&changed)? } else { format!("changed an application\n{}", shown(&changed)) })?)
}

async fn turn(NamedArgs { name, common }: NamedArgs, method: &str) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let call = server.api().post(&format!("{}:{method}", path(&name)), &json!({})).await;
    let changed: ApplicationResource = call.map_err(advise)?;
    let text = || format!("{} is {}\n", printable(&changed.name), state(&changed));
    Ok(print(&if common.json { json_line(&changed)? } else { text() })?)
}

/// Whether the file of `doorward serve` states an application.
pub(crate) fn is_of_file(app: &ApplicationResource) -> bool {
    app.labels.contains_key("doorward-config")
}

async fn delete(NamedArgs { name, common }: NamedArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    // Who may delete it and not see it is told less.
    let found = match server.dev() {
        None => server.api().get::<ApplicationResource>(&path(&name)).await.ok(),
        Some(_) => None,
    };
    server.api().delete(&path(&name)).await.map_err(advise)?;
    if let Some(app) = found.filter(is_of_file) {
        say(&format!(
            "note: {} is an application of doorward.toml: the next start or SIGHUP registers it again, with another client id and \
             audience; take it out of the file too",
            app.name
        ));
    }
    let text = format!("deleted {}, and the policies and settings on it\n", printable(&name));
    Ok(print(if common.json { "{}\n" } else { &text })?)
}

fn path(name: &str) -> String {
    format!("{PATH}/{}", path_segment(name))
}

fn advise(error: ApiError) -> anyhow::Error {
    error.advise(Status::NotFound, SEE_LIST)
}

/// An application for people, a line for each thing that is known of it.
fn shown(app: &ApplicationResource) -> String {
    let labels: Vec<String> = app.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    lines(&[
        ("name", &app.name),
        ("kind", kind(app.kind)),
        ("region", app.region.as_deref().unwrap_or_default()),
        ("service", app.service.as_deref().unwrap_or_default()),
        ("version", app.version.as_deref().unwrap_or_default()),
        ("state", state(app)),
        ("hosts", &app.hosts.join(" ")),
        ("paths", &app.path_prefixes.join(" ")),
        ("to", &app.upstreams.join(" ")),
        ("client id", app.client_id.as_deref().unwrap_or_default()),
        ("resource", &app.resource),
        ("audience", &app.assertion_audience),
        ("about", &app.description),
        ("labels", &labels.join(" ")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use serde_json::Value;

    use crate::api::tests::{block_on, replay};

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: Command,
    }

    fn parse(line: &[&str]) -> Command {
        Line::try_parse_from(std::iter::once(&"app").chain(line)).unwrap().command
    }

    fn body(asked: &str) -> Value {
        serde_json::from_str(asked.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    #[test]
    fn an_application_is_asked_for_with_what_the_line_says_and_an_option_of_another_kind_is_refused() {
        let start = ["create", "wiki", "--host", "https://wiki.example.com", "--to", "http://10.0.0.7:3000"];
        let sent = |more: &[&str]| {
            let Command::Create(args) = parse(&[&start, more].concat()) else { panic!("create") };
            request(*args).map(|(request, _)| serde_json::to_value(request).unwrap()).map_err(|error| error.to_string())
        };
        let with = |kind: &str, more: Value| {
            let mut whole = json!({
                "name": "wiki", "kind": kind, "hosts": ["https://wiki.example.com"], "upstreams": ["http://10.0.0.7:3000"], "iapEnabled": true,
            });
            whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            Ok(whole)
        };
        #[rustfmt::skip]
        let cases: [(&[&str], _); 7] = [
            (&[],                                                           with("backend_service", json!({}))),
            (&["--id", "7", "--region", "r", "--disabled"],                 with("backend_service", json!({"id": "7", "region": "r", "iapEnabled": false}))),
            (&["--kind", "app-engine", "--service", "s", "--service-version", "v"], with("app_engine", json!({"service": "s", "version": "v"}))),
            (&["--kind", "cloud-run", "--region", "r", "--label", "a=b=c"], with("cloud_run", json!({"region": "r", "labels": {"a": "b=c"}}))),
            (&["--path-prefix", "/a", "--client-id", "c", "--description", "d"], with("backend_service", json!({"pathPrefixes": ["/a"], "clientId": "c", "description": "d"}))),
            (&["--service", "s"],                                           Err("--service is of another kind of application: leave it out, or name the kind with --kind".to_owned())),
            (&["--kind", "app-engine", "--id", "7"],                        Err("--id is of another kind of application: leave it out, or name the kind with --kind".to_owned())),
        ];
        for (more, expected) in cases {
            assert_eq!(sent(more), expected, "{more:?}");
        }
    }

    #[test]
    fn a_change_names_what_it_changes() {
        let changed = |line: &[&str]| {
            let Command::Update(args) = parse(&[&["update", "wiki"], line].concat()) else { panic!("update") };
            args.change.resource().1
        };
        #[rustfmt::skip]
        let cases: [(&[&str], &str); 4] = [
            (&["--to", "http://a:1", "--to", "http://b:1"],            "upstreams"),
            (&["--no-path-prefixes", "--no-labels"],                   "pathPrefixes,labels"),
            (&["--description", "", "--host", "a.example"],            "hosts,description"),
            (&["--client-id", "c", "--label", "a=b", "--path-prefix", "/"], "pathPrefixes,clientId,labels"),
        ];
        for (line, mask) in cases {
            assert_eq!(changed(line), mask, "{line:?}");
        }
    }

    #[test]
    fn every_command_calls_its_method() {
        let dir = tempfile::tempdir().unwrap();
        let app = || json!({"name": "wiki", "kind": "backend_service", "hosts": [], "upstreams": []});
        let list = |token: &str| json!({"applications": [app()], "nextPageToken": token});
        #[rustfmt::skip]
        let cases: [(&[&str], Vec<Value>, &str); 6] = [
            (&["create", "wiki", "--host", "h", "--to", "u"],    vec![app()],                 "POST /doorward/v1/applications HTTP"),
            (&["list"],                                          vec![list("n"), list("")],   "GET /doorward/v1/applications HTTP"),
            (&["describe", "a/b"],                               vec![app()],                 "GET /doorward/v1/applications/a%2Fb HTTP"),
            (&["update", "wiki", "--to", "u", "--host", "h"],    vec![app()],                 "PATCH /doorward/v1/applications/wiki?updateMask=hosts%2Cupstreams HTTP"),
            (&["disable", "wiki"],                               vec![app()],                 "POST /doorward/v1/applications/wiki:disable HTTP"),
            (&["delete", "wiki"],                                vec![json!({})],             "DELETE /doorward/v1/applications/wiki HTTP"),
        ];
        for (line, answers, expected) in cases {
            let (address, asked) = replay(answers.into_iter().map(|answer| (200, answer)).collect());
            crate::world::tests::described(dir.path(), &format!("http://{address}"));
            let line: Vec<&str> = [line, &["--dir", dir.path().to_str().unwrap()]].concat();
            block_on(run(parse(&line))).unwrap();
            let asked = asked.join().unwrap();
            assert!(asked[0].starts_with(expected), "{line:?}: {}", asked[0]);
            if line[0] == "list" {
                assert!(asked[1].starts_with("GET /doorward/v1/applications?pageToken=n HTTP"), "{}", asked[1]);
            }
            if line[0] == "update" {
                assert_eq!(body(&asked[0])["upstreams"], json!(["u"]));
            }
        }
    }

    #[test]
    fn an_application_is_shown_by_what_is_known_of_it() {
        let app = ApplicationResource {
            name: "wiki".into(),
            hosts: vec!["https://a.example".into()],
            upstreams: vec!["http://b:1".into()],
            iap_enabled: Some(false),
            description: "a\x1b[2Jb".into(),
            ..ApplicationResource::default()
        };
        let expected = "name       wiki\n\
                        kind       backend-service\n\
                        state      disabled\n\
                        hosts      https://a.example\n\
                        to         http://b:1\n\
                        about      a\\u{1b}[2Jb\n";
        assert_eq!(shown(&app), expected);
        let expected = "NAME  KIND             STATE     HOSTS              TO\n\
                        wiki  backend-service  disabled  https://a.example  http://b:1\n";
        assert_eq!(rows(vec![app]), expected);
    }
}
