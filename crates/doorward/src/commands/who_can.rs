//! `doorward who-can`: who may make a request, or holds a permission.

use anyhow::bail;
use doorward_wire::doorward_api::{Grant, WhoCanRequest, WhoCanResponse};

use super::Common;
use super::explain::{ASK, QuestionArgs};
use crate::output::{json_line, print, printable, table};

/// List who may make a request, or who holds a permission, and by which bindings
///
/// Members are those of the policies: groups are not taken apart, and conditions are shown and not evaluated.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward who-can GET https://wiki.example.com/admin
  doorward who-can --resource projects/123 --permission iap.web.setIamPolicy")]
pub(crate) struct Args {
    #[command(flatten)]
    question: QuestionArgs,
    #[command(flatten)]
    common: Common,
}

/// Asks, and prints the answer.
pub(crate) async fn run(Args { question, common }: Args) -> anyhow::Result<()> {
    let Some(question) = question.question()? else { bail!("nothing is asked: {ASK}") };
    let server = common.server.open().await?;
    let answer: WhoCanResponse = server.api().post("/doorward/v1:whoCan", &WhoCanRequest { question }).await?;
    Ok(print(&if common.json { json_line(&answer)? } else { shown(&answer) })?)
}

fn shown(answer: &WhoCanResponse) -> String {
    let mut out = match answer.grants.is_empty() {
        true => format!("nobody, on {}\n", printable(&answer.resource)),
        false => grants(&answer.grants),
    };
    out.push_str(&deny_rules(&answer.deny_rules));
    out
}

/// Grants in rows.
pub(super) fn grants(grants: &[Grant]) -> String {
    let row = |grant: &Grant| {
        let condition = grant.condition.clone().unwrap_or_default();
        [grant.member.clone(), grant.role.clone(), grant.resource.clone(), condition]
    };
    table(["MEMBER", "ROLE", "ON", "IF"], &grants.iter().map(row).collect::<Vec<_>>())
}

/// A line for each rule that may take something away.
pub(super) fn deny_rules(rules: &[String]) -> String {
    rules.iter().map(|rule| format!("unless denied by {}\n", printable(rule))).collect()
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
    fn the_grants_are_shown_and_what_may_take_them_away() {
        let answer: WhoCanResponse = serde_json::from_value(json!({
            "resource": "r", "denyRules": ["d rule 0"],
            "grants": [{"member": "allUsers", "role": "roles/x", "resource": "projects/1", "condition": "true"}],
        }))
        .unwrap();
        let expected = "MEMBER    ROLE     ON          IF\n\
                        allUsers  roles/x  projects/1  true\n\
                        unless denied by d rule 0\n";
        assert_eq!(shown(&answer), expected);
        assert_eq!(shown(&WhoCanResponse { resource: "r".into(), ..WhoCanResponse::default() }), "nobody, on r\n");
    }

    #[test]
    fn the_question_is_sent_and_none_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (address, asked) = replay(vec![(200, json!({}))]);
        crate::world::tests::described(dir.path(), &format!("http://{address}"));
        let line = ["who-can", "GET", "https://a/", "--dir", dir.path().to_str().unwrap()];
        block_on(run(Line::try_parse_from(line).unwrap().args)).unwrap();
        let asked = asked.join().unwrap();
        let (head, body) = asked[0].split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /doorward/v1:whoCan HTTP"), "{head}");
        let expected = json!({"question": {"method": "GET", "url": "https://a/"}});
        assert_eq!(serde_json::from_str::<Value>(body).unwrap(), expected);
        assert!(block_on(run(Line::try_parse_from(["who-can"]).unwrap().args)).is_err());
    }
}
