//! `doorward whoami`: the person who is signed in.

use anyhow::bail;
use doorward_wire::time::rfc3339;
use serde::Serialize;

use crate::credentials::SignIns;
use crate::output::{json_line, print, printable};
use crate::person::{Person, Place, user_info};
use crate::server::ServerArgs;

/// Show who is signed in, and see that the sign-in is still good
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward whoami")]
pub(crate) struct Args {
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct WhoAmI {
    email: String,
    api_url: String,
    /// RFC 3339.
    since: String,
}

/// Asks the server, and prints what it says.
pub(crate) async fn run(Args { json, server }: Args) -> anyhow::Result<()> {
    let (place, _) = server.place()?;
    let answer = ask(&SignIns::of_this_user()?, &place).await?;
    Ok(print(&if json {
        json_line(&answer)?
    } else {
        format!("{} at {}, since {}\n", printable(&answer.email), printable(&answer.api_url), answer.since)
    })?)
}

async fn ask(sign_ins: &SignIns, place: &Place) -> anyhow::Result<WhoAmI> {
    let person = Person::signed_in(sign_ins, place)?;
    let access_token = person.access_token().await?;
    let Some(email) = user_info(place, access_token.as_str()).await?.email else {
        bail!("the server does not say who is signed in: sign in again with `doorward login`");
    };
    Ok(WhoAmI { email, api_url: place.api_url.clone(), since: rfc3339(person.credential.since.seconds()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorward_server::dev::description::Description;
    use serde_json::json;

    use crate::api::tests::{block_on, replay};
    use crate::person::tests::signed_in;
    use crate::world::tests::description;

    #[test]
    fn the_server_is_asked_with_a_fresh_token_who_it_is() {
        let (address, asked) = replay(vec![
            (200, json!({"access_token": "a", "expires_in": 3599})),
            (200, json!({"sub": "1", "email": "alice@example.com"})),
        ]);
        let api_url = format!("http://{address}");
        let world: Description = serde_json::from_value(description(&api_url)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let sign_ins = signed_in(dir.path(), &world, "123-desktop.apps.googleusercontent.com");
        let expected = WhoAmI { email: "alice@example.com".into(), api_url, since: "1970-01-01T00:16:40Z".into() };
        assert_eq!(block_on(ask(&sign_ins, &Place::of(&world).unwrap())).unwrap(), expected);
        let asked = asked.join().unwrap();
        assert!(asked[1].starts_with("GET /openidconnect.googleapis.com/v1/userinfo HTTP/1.1\r\n"));
        assert!(asked[1].contains("\r\nauthorization: Bearer a\r\n"));
    }
}
