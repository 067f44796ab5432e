use std::time::Duration;

use doorward_control::instance::{IdentityRequest, TurnedAway};
use doorward_core::audit::TokenMethod;
use doorward_core::grant::{Subject, TokenHash};

use crate::robots::{CLOUD, ROBOT};
use crate::{APP_CLIENT, PEER, Stack, cause};

#[tokio::test]
async fn a_workload_gets_tokens_of_its_account_for_known_scopes() {
    let stack = Stack::new().await;
    let robot = stack.create_account("robot1").await.unique_id;
    let instance = stack.instance(&robot);
    assert_eq!(instance.email().unwrap().as_str(), ROBOT);
    let default = format!("{CLOUD} https://www.googleapis.com/auth/userinfo.email");
    let (commas, spaces) = (format!("openid,{CLOUD}"), format!("openid {CLOUD}"));
    #[rustfmt::skip]
    let cases = [
        (None,                   Ok(default.as_str())),
        (Some(""),               Ok(&default)),
        (Some(CLOUD),            Ok(CLOUD)),
        (Some(commas.as_str()),  Ok(&spaces)),
        (Some("nonsense"),       Err("Scope")),
        (Some("openid,nonsense"), Err("Scope")),
    ];
    for (asked, expected) in cases {
        match instance.access_token(asked, PEER).await {
            Ok(made) => {
                let hash = TokenHash::of(&made.access_token);
                let grant = stack.store.access_token(&hash, stack.now()).await.unwrap().unwrap();
                assert_eq!(
                    (&grant.subject, Ok(grant.scopes.as_str())),
                    (&Subject::Account(robot.clone()), expected),
                    "{asked:?}"
                );
                assert_eq!(made.expires_in, Duration::from_secs(3599));
                assert_eq!(stack.last_event().audience.as_deref(), Some(grant.scopes.as_str()));
            }
            Err(error) => {
                assert_eq!(Err(cause(&error).as_str()), expected, "{asked:?}");
                assert_eq!(stack.last_reason(), "invalid_scope");
            }
        }
        assert_eq!(stack.last_event().method, TokenMethod::Metadata);
    }
    let long = "a".repeat(2049);
    #[rustfmt::skip]
    let cases = [
        (None,        None,          None,          "Audience", "invalid_audience"),
        (Some(""),    Some("full"),  None,          "Audience", "invalid_audience"),
        (Some(&long), None,          None,          "Audience", "invalid_audience"),
        (Some("a"),   Some("other"), None,          "Format",   "invalid_request"),
        (Some("a"),   Some("full"),  Some("maybe"), "Format",   "invalid_request"),
    ];
    for (audience, format, licenses, expected, reason) in cases {
        let request = IdentityRequest { audience, format, licenses };
        let error = instance.identity(request, PEER).await.unwrap_err();
        assert_eq!((cause(&error).as_str(), stack.last_reason()), (expected, reason), "{request:?}");
    }
}

#[tokio::test]
async fn a_disabled_or_deleted_account_serves_no_workload() {
    let stack = Stack::new().await;
    let robot = stack.create_account("robot1").await.unique_id;
    let disabled = stack.create_disabled().await.unique_id;
    stack.accounts.delete(&stack.admin, "-", ROBOT).await.unwrap();
    for account in [robot, disabled] {
        let instance = stack.instance(&account);
        assert_eq!(cause(&instance.email().unwrap_err()), "AccountGone");
        let identity =
            instance.identity(IdentityRequest { audience: Some(APP_CLIENT), ..Default::default() }, PEER).await;
        assert_eq!((cause(&identity.unwrap_err()).as_str(), stack.last_reason()), ("AccountGone", "account_not_found"));
        let access = instance.access_token(None, PEER).await;
        assert_eq!(access.err().as_ref().map(cause).as_deref(), Some("AccountGone"));
    }
}

#[tokio::test]
async fn whoever_is_turned_away_is_in_the_record() {
    let stack = Stack::new().await;
    let robot = stack.create_account("robot1").await.unique_id;
    let instance = stack.instance(&robot);
    #[rustfmt::skip]
    let cases = [
        (TurnedAway::NoFlavor,    "metadata_refused"),
        (TurnedAway::Forwarded,   "metadata_refused"),
        (TurnedAway::ForeignHost, "metadata_refused"),
        (TurnedAway::ForeignPeer, "metadata_refused"),
        (TurnedAway::Unreadable,  "invalid_request"),
    ];
    for (why, reason) in cases {
        let error = instance.turn_away(why, PEER).await;
        let event = stack.last_event();
        assert_eq!((cause(&error).as_str(), stack.last_reason()), ("TurnedAway", reason));
        assert_eq!((event.refused, event.peer), (Some(why.to_string()), Some(PEER.to_string())));
    }
}
