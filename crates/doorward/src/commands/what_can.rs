//! `doorward what-can`: what somebody may enter and do.

use doorward_wire::doorward_api::{WhatCanRequest, WhatCanResponse};

use super::Common;
use super::who_can::{deny_rules, grants};
use crate::iam_policy::{MemberArg, somebody};
use crate::output::{json_line, print, printable, table};

/// List what a member may enter and do, and by which bindings; conditions are shown and not evaluated
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward what-can alice@example.com")]
pub(crate) struct Args {
    /// Who: an e-mail address, or a member as in a policy
    #[arg(value_name = "MEMBER", value_parser = somebody)]
    member: MemberArg,
    #[command(flatten)]
    common: Common,
}

/// Asks, and prints the answer.
pub(crate) async fn run(Args { member, common }: Args) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let request = WhatCanRequest { member: member.meant_in(&server)?.to_string() };
    let answer: WhatCanResponse = server.api().post("/doorward/v1:whatCan", &request).await?;
    Ok(print(&if common.json { json_line(&answer)? } else { shown(&answer) })?)
}

fn shown(answer: &WhatCanResponse) -> String {
    let WhatCanResponse { member, applications, grants: others, deny_rules: rules } = answer;
    let mut out = String::new();
    if applications.is_empty() {
        out.push_str(&format!("{} may enter no application\n", printable(member)));
    } else {
        let rows: Vec<_> = applications
            .iter()
            .flat_map(|app| {
                let row = |(place, grant): (usize, &doorward_wire::doorward_api::Grant)| {
                    let first = |text: &str| if place == 0 { text.to_owned() } else { String::new() };
                    let condition = grant.condition.clone().unwrap_or_default();
                    let by = format!("{} for {}", grant.role, grant.member);
                    [first(&app.application), first(&app.hosts.join(" ")), by, grant.resource.clone(), condition]
                };
                app.grants.iter().enumerate().map(row)
            })
            .collect();
        out.push_str(&table(["ENTERS", "AT", "BY", "ON", "IF"], &rows));
    }
    if !others.is_empty() {
        out.push_str(&format!("\n{}", grants(others)));
    }
    out.push_str(&deny_rules(rules));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use serde_json::{Value, json};

    use crate::api::tests::{block_on, replay};

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn what_somebody_may_enter_comes_before_what_else_they_hold() {
        let grant = |role: &str| json!({"member": "user:a@x.com", "role": role, "resource": "projects/1"});
        let answer: WhatCanResponse = serde_json::from_value(json!({
            "member": "user:a@x.com",
            "applications": [{"application": "wiki", "hosts": ["a", "b"], "grants": [grant("r"), grant("s")]}],
            "grants": [grant("roles/viewer")],
        }))
        .unwrap();
        let expected = "ENTERS  AT   BY                  ON          IF\n\
                        wiki    a b  r for user:a@x.com  projects/1\n             \
                                s for user:a@x.com  projects/1\n\
                        \n\
                        MEMBER        ROLE          ON          IF\n\
                        user:a@x.com  roles/viewer  projects/1\n";
        assert_eq!(shown(&answer), expected);
        let none = WhatCanResponse { member: "m".into(), ..WhatCanResponse::default() };
        assert_eq!(shown(&none), "m may enter no application\n");
    }

    #[test]
    fn the_member_is_sent() {
        let dir = tempfile::tempdir().unwrap();
        let (address, asked) = replay(vec![(200, json!({}))]);
        crate::world::tests::described(dir.path(), &format!("http://{address}"));
        let line = ["what-can", "user:a@x.com", "--dir", dir.path().to_str().unwrap()];
        block_on(run(Line::try_parse_from(line).unwrap().args)).unwrap();
        let asked = asked.join().unwrap();
        let (head, body) = asked[0].split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /doorward/v1:whatCan HTTP"), "{head}");
        assert_eq!(serde_json::from_str::<Value>(body).unwrap(), json!({"member": "user:a@x.com"}));
    }
}
