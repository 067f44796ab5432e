//! `dev` starts again and again on one directory, wherever its listeners are.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::net::SocketAddr;
use std::path::Path;

use doorward_server::dev::description::Description;
use doorward_server::dev::{self, EmailClaim, Options};

/// Starts a world and stops it, and gives what it said of itself.
async fn start(directory: &Path, [app, other_app]: [SocketAddr; 2]) -> Description {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let options = Options {
        to: None,
        directory: directory.to_owned(),
        app_listen: app,
        other_app_listen: other_app,
        api_listen: free,
        metadata_listen: free,
        tls: None,
        unsafe_listen: false,
        email_claim: EmailClaim::Optional,
        trusted_issuers: None,
    };
    let world = dev::start(options).await.unwrap();
    let description = world.description().clone();
    world.stop().await;
    description
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_applications_are_where_the_newest_start_put_them_and_stay_what_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let first = start(directory.path(), [free, free]).await;
    let places = [&first.app.host, &first.other_app.host].map(|host| host.parse().unwrap());
    let [app, other_app] = places;
    // As before, with their places changed, and somewhere else.
    for places in [[app, other_app], [other_app, app], [free, free]] {
        let again = start(directory.path(), places).await;
        let same = |it: &Description| {
            [&it.app, &it.other_app].map(|app| (app.client_id.clone(), app.resource.clone(), app.client_secret.clone()))
        };
        assert_eq!(same(&again), same(&first), "{places:?}");
        if places[0].port() != 0 {
            assert_eq!([again.app.host, again.other_app.host], places.map(|place| place.to_string()));
        }
        let allowed = again.service_accounts.iter().filter(|(_, it)| it.allowed).map(|(name, _)| name.as_str());
        assert_eq!(allowed.collect::<Vec<_>>(), ["robot", "target"], "whoever administers may not enter");
    }
}
