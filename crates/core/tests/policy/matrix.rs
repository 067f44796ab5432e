//! Who may do what, as pictures: a row for each caller, a column for each question.

use doorward_core::policy::{CustomRole, Etag, LaunchStage, Permission, PermissionSet, Remedy, Standing, Verdict};
use doorward_core::resource::Host;
use doorward_core::snapshot::{Snapshot, Update};

use crate::world::{Caller, application, deny, empty, member, policy, request, resource};

/// Columns are `RESOURCE` or `RESOURCE@PATH`, for going through the door; or `RESOURCE?PERMISSION`. A cell names the node of the
/// binding; `!` is a deny rule, `-` nothing.
fn matrix(snapshot: &Snapshot, callers: &[&str], columns: &[&str]) -> String {
    let host = Host::parse("app.example").unwrap();
    let mut picture = String::new();
    for caller in callers {
        let who = Caller::new(caller);
        let mut row = format!("{caller:<34}");
        for column in columns {
            let (column, permission) =
                column.split_once('?').unwrap_or((column, "iap.webServiceVersions.accessViaIAP"));
            let (node, path) = column.split_once('@').unwrap_or((column, "/"));
            let lineage = snapshot.lineage(&resource(node));
            let context = request(&host, path);
            let permission: Permission = permission.parse().unwrap();
            let question =
                doorward_core::policy::Question { principal: who.principal(), permission, context: &context };
            let cell = match snapshot.decide(&lineage, &question) {
                Verdict::Allowed(granted) => granted.node.name.rsplit('/').next().unwrap().to_owned(),
                Verdict::Denied(_) => "!".to_owned(),
                Verdict::NotGranted => "-".to_owned(),
            };
            row += &format!("{cell:<10}");
        }
        picture += &format!("{}\n", row.trim_end());
    }
    picture
}

fn world(updates: Vec<Update>) -> Snapshot {
    let applications = [application("wiki", &["app.example/"]), application("blog", &["blog.example/"])];
    empty().with(1, applications.into_iter().chain(updates))
}

const POOL: &str = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool";

#[test]
fn a_grant_reaches_the_version_from_every_node_above_and_from_no_other() {
    let snapshot = world(vec![
        policy("wiki:bs_0", &["httpsResourceAccessor: user:version@x.com"]),
        policy("wiki", &["httpsResourceAccessor: user:service@x.com serviceAccount:r@p.co"]),
        policy("type", &["httpsResourceAccessor: user:type@x.com"]),
        policy("web", &["httpsResourceAccessor: domain:web.com"]),
        policy("project", &["httpsResourceAccessor: user:project@x.com"]),
        policy("folder", &["httpsResourceAccessor: user:folder@x.com"]),
        policy("org", &["httpsResourceAccessor: user:org@x.com"]),
        policy("projects/1/iap_tunnel", &["httpsResourceAccessor: user:tunnel@x.com"]),
    ]);
    let callers = [
        "user:version@x.com",
        "user:service@x.com",
        "user:type@x.com",
        "user:ann@web.com",
        "user:project@x.com",
        "user:folder@x.com",
        "user:org@x.com",
        "user:tunnel@x.com",
        "user:r@p.co",
        "serviceAccount:r@p.co",
        "serviceAccount:r@web.com",
        "nobody",
    ];
    #[rustfmt::skip]
    let expected = [
        // wiki's version  blog's version  wiki       the project
        "user:version@x.com                bs_0      -         -         -",
        "user:service@x.com                SERVICE   -         SERVICE   -",
        "user:type@x.com                   compute   compute   compute   -",
        "user:ann@web.com                  iap_web   iap_web   iap_web   -",
        "user:project@x.com                1         1         1         1",
        "user:folder@x.com                 20        20        20        20",
        "user:org@x.com                    10        10        10        10",
        "user:tunnel@x.com                 -         -         -         -",
        "user:r@p.co                       -         -         -         -",
        "serviceAccount:r@p.co             SERVICE   -         SERVICE   -",
        "serviceAccount:r@web.com          -         -         -         -",
        "nobody                            -         -         -         -",
    ];
    let drawn = matrix(&snapshot, &callers, &["wiki:bs_0", "blog:bs_0", "wiki", "project"]);
    let service = crate::world::number("wiki");
    assert_eq!(drawn.replace(&format!("{service:<10}"), "SERVICE   "), expected.join("\n") + "\n");
}

#[test]
fn every_form_of_member_matches_those_it_stands_for() {
    let snapshot = world(vec![
        policy("project", &["httpsResourceAccessor: group:staff@x.com"]),
        policy("web", &["httpsResourceAccessor: allAuthenticatedUsers deleted:user:gone@x.com?uid=7"]),
        policy("type", &[&format!("httpsResourceAccessor: principalSet:{POOL}/group/eng principal:{POOL}/subject/s")]),
        policy("blog", &["httpsResourceAccessor: allUsers"]),
        member("eng@x.com", "user:ann@x.com", true),
        member("eng@x.com", &format!("principalSet:{POOL}/attribute.team/t"), true),
        member("staff@x.com", "group:eng@x.com", true),
        member("staff@x.com", "domain:partner.com", true),
    ]);
    let snapshot = snapshot.with(2, [policy("web", &["httpsResourceAccessor: deleted:user:gone@x.com?uid=7"])]);
    let foreign = |rest: &str| format!("principal:{POOL}/subject/u+principalSet:{POOL}/{rest}+principalSet:{POOL}/*");
    let (team, eng, none) = (foreign("attribute.team/t"), foreign("group/eng"), foreign("group/other"));
    let subject = format!("principal:{POOL}/subject/s");
    let callers = [
        "user:ann@x.com",
        "user:gone@x.com",
        "user:bob@partner.com",
        "serviceAccount:r@partner.com",
        &team,
        &eng,
        &none,
        &subject,
        "nobody",
    ];
    let drawn = matrix(&snapshot, &callers, &["wiki:bs_0", "blog:bs_0"]).replace(&team, "team ").replace(&eng, "eng ");
    let drawn =
        drawn.replace(&none, "none ").replace(&subject, "subject ").replace(&crate::world::number("blog"), "blog");
    let drawn: Vec<String> = drawn.lines().map(|it| it.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    #[rustfmt::skip]
    let expected = [
        "user:ann@x.com 1 blog",
        "user:gone@x.com - blog",
        "user:bob@partner.com 1 blog",
        "serviceAccount:r@partner.com - blog",
        "team 1 blog",
        "eng compute blog",
        "none - blog",
        "subject compute blog",
        "nobody - blog",
    ];
    assert_eq!(drawn, expected);
}

#[test]
fn administration_does_not_enter_and_entering_does_not_administrate() {
    let snapshot = world(vec![policy(
        "project",
        &[
            "roles/owner: user:owner@x.com",
            "roles/editor: user:editor@x.com",
            "roles/viewer: user:viewer@x.com",
            "roles/iap.admin: user:iap@x.com",
            "roles/iap.settingsAdmin: user:settings@x.com",
            "roles/iam.serviceAccountTokenCreator: user:creator@x.com",
            "roles/iam.workloadIdentityUser: user:workload@x.com",
            "roles/compute.admin: user:compute@x.com",
            "roles/iam.denyAdmin: user:deny@x.com",
            "httpsResourceAccessor: user:visitor@x.com",
            "projects/1/roles/nothing: user:custom@x.com",
        ],
    )]);
    let names =
        ["owner", "editor", "viewer", "iap", "settings", "creator", "workload", "compute", "deny", "visitor", "custom"];
    let callers: Vec<String> = names.iter().map(|name| format!("user:{name}@x.com")).collect();
    let callers: Vec<&str> = callers.iter().map(String::as_str).collect();
    let columns = [
        "wiki:bs_0",
        "wiki?iap.webServices.setIamPolicy",
        "wiki?iap.webServices.updateSettings",
        "wiki?iap.webServices.getSettings",
        "project?resourcemanager.projects.setIamPolicy",
        "projects/1/serviceAccounts/7?iam.serviceAccounts.getAccessToken",
        "projects/1/serviceAccounts/7?iam.serviceAccounts.signJwt",
        "project?compute.backendServices.update",
        "project?iam.denypolicies.create",
        "project?doorward.groups.update",
    ];
    #[rustfmt::skip]
    let expected = [
        //                                 enter     policy    settings  see them  project   token     sign      compute   deny      groups
        "user:owner@x.com                  -         1         1         1         1         -         -         1         -         1",
        "user:editor@x.com                 -         -         1         1         -         -         -         1         -         -",
        "user:viewer@x.com                 -         -         -         1         -         -         -         -         -         -",
        "user:iap@x.com                    -         1         -         -         -         -         -         -         -         -",
        "user:settings@x.com               -         -         1         1         -         -         -         -         -         -",
        "user:creator@x.com                -         -         -         -         -         1         1         -         -         -",
        "user:workload@x.com               -         -         -         -         -         1         -         -         -         -",
        "user:compute@x.com                -         -         -         -         -         -         -         1         -         -",
        "user:deny@x.com                   -         -         -         -         -         -         -         -         1         -",
        "user:visitor@x.com                1         -         -         -         -         -         -         -         -         -",
        "user:custom@x.com                 -         -         -         -         -         -         -         -         -         -",
    ];
    assert_eq!(matrix(&snapshot, &callers, &columns), expected.join("\n") + "\n");
}

#[test]
fn a_deny_rule_is_stronger_than_any_grant_and_a_condition_that_fails_denies_and_grants_nothing() {
    const ENTER: &str = "iap.googleapis.com/webServiceVersions.accessViaIAP";
    let snapshot = world(vec![
        policy(
            "wiki",
            &[
                "httpsResourceAccessor: group:all@x.com",
                "httpsResourceAccessor: user:admin@x.com if request.path.startsWith('/admin')",
                "httpsResourceAccessor: user:broken@x.com if request.headers['origin'] == 'x'",
            ],
        ),
        member("all@x.com", "user:ann@x.com", true),
        member("all@x.com", "user:bad@x.com", true),
        member("all@x.com", "user:spared@x.com", true),
        member("all@x.com", "user:path@x.com", true),
        member("all@x.com", "user:unclear@x.com", true),
        member("denied@x.com", "user:bad@x.com", true),
        member("denied@x.com", "user:spared@x.com", true),
        deny("project", "one", &format!("{ENTER}: principalSet://goog/group/denied@x.com except user:spared@x.com")),
        deny("org", "two", &format!("{ENTER}: user:path@x.com if request.path.startsWith('/private')")),
        deny("folder", "three", "iap.googleapis.com/*.*: user:unclear@x.com if request.headers['origin'] == 'x'"),
    ]);
    let callers =
        ["ann", "bad", "spared", "path", "unclear", "admin", "broken"].map(|name| format!("user:{name}@x.com"));
    let callers: Vec<&str> = callers.iter().map(String::as_str).collect();
    let columns = [
        "wiki:bs_0@/",
        "wiki:bs_0@/admin",
        "wiki:bs_0@/private",
        "wiki:bs_0@/admin/../x",
        "wiki:bs_0@/x/../private",
        "wiki:bs_0@/private/../x",
    ];
    #[rustfmt::skip]
    let expected = [
        //                                 /         /admin    /private  /admin/../x  /x/../private  /private/../x
        "user:ann@x.com                    S         S         S         S         S         S",
        "user:bad@x.com                    !         !         !         !         !         !",
        "user:spared@x.com                 S         S         S         S         S         S",
        "user:path@x.com                   S         S         !         S         !         !",
        "user:unclear@x.com                !         !         !         !         !         !",
        "user:admin@x.com                  -         S         -         -         -         -",
        "user:broken@x.com                 -         -         -         -         -         -",
    ];
    let drawn =
        matrix(&snapshot, &callers, &columns).replace(&format!("{:<10}", crate::world::number("wiki")), "S         ");
    let drawn = drawn.replace(&crate::world::number("wiki"), "S");
    let drawn: String = drawn.lines().map(|row| format!("{}\n", row.trim_end())).collect();
    assert_eq!(drawn, expected.join("\n") + "\n");
}

#[test]
fn a_custom_role_gives_what_it_has_now_and_a_deleted_one_nothing() {
    let role = |deleted, stage, permissions: &[Permission]| {
        let name: doorward_core::policy::RoleName = "projects/1/roles/door".parse().unwrap();
        let permissions = PermissionSet::of(permissions);
        let (title, description) = (String::new(), String::new());
        let role = CustomRole { name: name.clone(), title, description, stage, permissions, deleted, etag: Etag(1) };
        Update::Role(name, Some(role))
    };
    let enter = [Permission::AccessViaIap];
    let snapshot = world(vec![policy("wiki", &["projects/1/roles/door: user:ann@x.com"])]);
    let steps = [
        (role(false, LaunchStage::Ga, &enter), true),
        (role(false, LaunchStage::Ga, &[Permission::EgressViaIap]), false),
        (role(false, LaunchStage::Beta, &enter), true),
        (role(true, LaunchStage::Beta, &enter), false),
        (role(false, LaunchStage::Disabled, &enter), false),
    ];
    let mut now = snapshot;
    for (number, (step, allowed)) in steps.into_iter().enumerate() {
        now = now.with(now.version + 1, [step]);
        let drawn = matrix(&now, &["user:ann@x.com"], &["wiki:bs_0"]);
        assert_eq!(!drawn.trim_end().ends_with('-'), allowed, "step {number}: {drawn}");
    }
}

#[test]
fn the_smallest_change_is_told_and_makes_it_a_yes() {
    const ENTER: &str = "iap.googleapis.com/webServiceVersions.accessViaIAP";
    let snapshot = world(vec![
        policy("wiki", &["httpsResourceAccessor: user:ann@x.com"]),
        policy("blog", &["httpsResourceAccessor: user:cond@x.com if request.path == '/ok'"]),
        deny("project", "bad", &format!("{ENTER}: user:bad@x.com")),
    ]);
    let host = Host::parse("app.example").unwrap();
    let context = request(&host, "/x");
    let remedies = |who: &str, node: &str| -> String {
        let caller = Caller::new(who);
        let lineage = snapshot.lineage(&resource(node));
        let permission = Permission::AccessViaIap;
        let question = doorward_core::policy::Question { principal: caller.principal(), permission, context: &context };
        let told = snapshot.explain(&lineage, &question).remedies.into_iter().map(|remedy| match remedy {
            Remedy::SignIn => "sign in".to_owned(),
            Remedy::Except { policy, rule, member } => {
                format!("except {member} from rule {rule} of {}", policy.rsplit('/').next().unwrap())
            }
            Remedy::Condition { condition, read, .. } => format!("{} where {read:?}", condition.expression),
            Remedy::AddMember { role, member, binding, .. } => format!("add {member} to {role} at {binding:?}"),
        });
        told.collect::<Vec<_>>().join(", ")
    };
    #[rustfmt::skip]
    let cases = [
        ("user:ann@x.com",  "wiki:bs_0", ""),
        ("user:bob@x.com",  "wiki:bs_0", "add user:bob@x.com to roles/iap.httpsResourceAccessor at Some(0)"),
        ("user:bob@x.com",  "blog:bs_0", "add user:bob@x.com to roles/iap.httpsResourceAccessor at None"),
        ("user:cond@x.com", "blog:bs_0", "request.path == '/ok' where [(\"request.path\", Some(\"\\\"/x\\\"\"))]"),
        ("user:bad@x.com",  "wiki:bs_0", "except user:bad@x.com from rule 0 of bad, add user:bad@x.com to roles/iap.httpsResourceAccessor at Some(0)"),
        ("nobody",          "wiki:bs_0", "sign in"),
    ];
    for (who, node, expected) in cases {
        assert_eq!(remedies(who, node), expected, "{who} {node}");
    }
}

#[test]
fn who_can_lists_members_by_the_same_decision() {
    const ENTER: &str = "iap.googleapis.com/webServiceVersions.accessViaIAP";
    let snapshot = world(vec![
        policy(
            "wiki",
            &[
                "httpsResourceAccessor: user:ann@x.com user:bad@x.com group:eng@x.com deleted:user:gone@x.com?uid=1",
                "httpsResourceAccessor: user:cond@x.com if request.path == '/ok'",
                "roles/viewer: user:viewer@x.com",
            ],
        ),
        policy("web", &["httpsResourceAccessor: domain:x.com"]),
        deny("project", "bad", &format!("{ENTER}: user:bad@x.com")),
    ]);
    let host = Host::parse("app.example").unwrap();
    let lineage = snapshot.lineage(&resource("wiki:bs_0"));
    let listed = |path: &str| -> Vec<String> {
        let holders = snapshot.who_can(&lineage, Permission::AccessViaIap, &request(&host, path));
        holders.iter().map(|it| format!("{} {:?} {}", it.member, it.standing, it.by.len())).collect()
    };
    #[rustfmt::skip]
    let expected = |cond: &str| vec![
        "user:ann@x.com Allowed 2".to_owned(),
        "user:bad@x.com Denied 2".to_owned(),
        format!("user:cond@x.com {cond}"),
        "group:eng@x.com Allowed 1".to_owned(),
        "domain:x.com Allowed 1".to_owned(),
    ];
    assert_eq!(listed("/ok"), expected("Allowed 2"));
    // The whole domain may, so the condition is not what decides.
    assert_eq!(listed("/x"), expected("Allowed 2"));
    let narrow = snapshot.with(2, [policy("web", &[])]);
    let lineage = narrow.lineage(&resource("wiki:bs_0"));
    let holders = narrow.who_can(&lineage, Permission::AccessViaIap, &request(&host, "/x"));
    let standing = holders.iter().find(|it| it.member.to_string() == "user:cond@x.com").unwrap().standing.clone();
    assert_eq!(standing, Standing::Depends);
    let what = |member: &str| -> Vec<String> {
        let (member, context) = (member.parse().unwrap(), request(&host, "/x"));
        let found = narrow.what_can(&member, Permission::AccessViaIap, &context);
        found.iter().map(|(it, holder)| format!("{} {:?}", it.application.name, holder.standing)).collect()
    };
    assert_eq!(what("user:ann@x.com"), ["wiki Allowed"]);
    assert_eq!(what("user:cond@x.com"), ["wiki Depends"]);
    assert_eq!(what("user:bad@x.com"), ["wiki Denied"]);
    assert!(what("user:viewer@x.com").is_empty());
}
